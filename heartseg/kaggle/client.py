"""The kaggle client, imported without its side effects, with every connection under our limits."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import heartseg
from heartseg.errors import InputError, flat
from heartseg.kaggle.credentials import SETTINGS, Credentials, without_empty_variables

if TYPE_CHECKING:
    from heartseg.kaggle.transport import BoundedAdapter

AGENT = f"heartseg/{heartseg.__version__}"


def import_client() -> Any:
    """Return the class KaggleApi. InputError if it is not installed.

    Importing it signs in, without a time limit, and prints advice: the environment lets it find nothing to do.
    Programs that also use `kaggle.api` import it earlier, or call its ``authenticate``.
    """
    quiet = {"KAGGLE_API_TOKEN": os.devnull, "KAGGLE_USERNAME": "nobody", "KAGGLE_KEY": "none", "VERBOSE": "false"}
    try:
        with patch.dict(os.environ, quiet), redirect_stdout(io.StringIO()):
            from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError as error:
        missing = f"{error.name.partition('.')[0]} is missing" if error.name else flat(error)
        raise InputError(f"needs the kaggle client ({missing}): pip install 'heartseg[kaggle]'") from None
    except OSError as error:
        raise InputError(f"the kaggle client cannot make its folder ({flat(error)}); set KAGGLE_CONFIG_DIR") from None
    return KaggleApi


def make_client(credentials: Credentials, local: bool) -> Any:
    """Return the kaggle client with these credentials, whose every connection uses a `BoundedAdapter`."""
    import requests

    from heartseg.kaggle.transport import BoundedAdapter, bound

    class Api(import_client()):  # type: ignore[misc]
        """Limits its connections: the client's have no time limit, and print headers if VERBOSE is set."""

        repeat = True

        def adapter(self) -> BoundedAdapter:
            return BoundedAdapter(local, self.repeat)

        def once(self) -> Api:
            """Return a copy for requests that must not be sent twice."""
            other = Api()
            other.args, other.config_values, other.repeat = self.args, self.config_values, False
            return other

        def build_kaggle_client(self) -> Any:
            with without_empty_variables():  # the client looks for a token here again
                client = super().build_kaggle_client()
                client.__enter__()
            session = getattr(client.http_client(), "_session", None)
            if not isinstance(session, requests.Session):
                raise InputError("the kaggle client: is of an unknown version; pip install 'kaggle==2.2.4'")
            session.headers["User-Agent"] = AGENT
            bound(session, self.adapter())
            return client

    api = Api()
    values = {"username": credentials.username, "key": credentials.key, "token": credentials.token}
    api.args, api.config_values = ["--local"] * local, {name: value for name, value in values.items() if value}
    return api


def signed_in(api: Any, credentials: Credentials) -> Credentials:
    """Return the credentials with the user's name, which Kaggle gives for a valid token."""
    from kagglesdk import KaggleCredentials
    from kagglesdk.security.types.oauth_service import IntrospectTokenRequest

    from heartseg.kaggle.transport import readable_errors

    source, token = credentials.source, credentials.token
    advice = f"make a new one at {SETTINGS}"
    if credentials.hidden:
        advice = f"it goes before {credentials.hidden}: fix it, or remove it to use those"
    refused = f"Kaggle refuses the token; {advice}"
    remedies = dict.fromkeys((400, 401, 403, 404), refused)
    with readable_errors(f"signing in by {source}", credentials.secrets, remedies), api.build_kaggle_client() as client:
        if not token:
            login = KaggleCredentials.load(client)
            token = (login and login.get_access_token()) or ""
            refused = "has no valid login; run kaggle auth login"
        request = IntrospectTokenRequest()
        request.token = token
        answer = client.security.oauth_client.introspect_token(request) if token else None
    if answer is None or not answer.active or not answer.username:
        raise InputError(f"{source}: {refused}")
    return replace(credentials, token=token, username=answer.username)
