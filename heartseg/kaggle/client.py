"""The real kaggle client, started without its surprises, with every connection under our limits."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import heartseg
from heartseg.errors import InputError, flat
from heartseg.kaggle.credentials import SETTINGS, Credentials

if TYPE_CHECKING:
    from heartseg.kaggle.transport import Door

AGENT = f"heartseg/{heartseg.__version__}"


def make_client(credentials: Credentials, local: bool) -> Any:
    """The kaggle client with these credentials, whose every connection goes through `Door`."""
    api_class = _imported()
    import requests
    from kagglesdk import KaggleClient, KaggleEnv

    from heartseg.kaggle.transport import Door, mount

    class Api(api_class):  # type: ignore[misc, valid-type]
        """Makes its connections itself: the client's own know no time limit, and show headers if VERBOSE is set."""

        repeat = True

        def door(self) -> Door:
            return Door(local, self.repeat)

        def once(self) -> Api:
            """The same for what must not be sent twice."""
            other = Api()
            other.config_values, other.repeat = self.config_values, False
            return other

        def build_kaggle_client(self) -> Any:
            client = KaggleClient(
                env=KaggleEnv.LOCAL if local else KaggleEnv.PROD,
                username=credentials.username or None,
                password=credentials.key or None,
                api_token=credentials.token or None,
                user_agent=AGENT,
            )
            client.__enter__()
            session = getattr(client.http_client(), "_session", None)
            if not isinstance(session, requests.Session):
                raise InputError("the kaggle client: this version is not known here; pip install 'kaggle==2.2.4'")
            mount(session, self.door())
            return client

    api = Api()
    api.config_values = {Api.CONFIG_NAME_USER: credentials.username}
    return api


def _imported() -> Any:
    """KaggleApi. Importing it signs in, without a time limit, and prints advice: here it finds nothing to do.

    Whoever uses `kaggle.api` in the same process imports it earlier, or calls its ``authenticate``.
    """
    quiet = {"KAGGLE_API_TOKEN": os.devnull, "KAGGLE_USERNAME": "nobody", "KAGGLE_KEY": "none", "VERBOSE": "false"}
    try:
        with patch.dict(os.environ, quiet), redirect_stdout(io.StringIO()):
            from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError as error:
        lacks = f"{error.name.partition('.')[0]} is missing" if error.name else flat(error)
        raise InputError(f"needs the kaggle client ({lacks}): pip install 'heartseg[kaggle]'") from None
    except OSError as error:
        raise InputError(f"the kaggle client cannot make its folder ({flat(error)}); set KAGGLE_CONFIG_DIR") from None
    return KaggleApi


def signed_in(api: Any, credentials: Credentials) -> Credentials:
    """The same with the user's name, as Kaggle tells it to whoever holds the token."""
    from kagglesdk import KaggleCredentials
    from kagglesdk.security.types.oauth_service import IntrospectTokenRequest

    from heartseg.kaggle.transport import told

    source, token = credentials.source, credentials.token
    advice = f"make a new one at {SETTINGS}"
    if credentials.beside:
        advice = f"it goes before {credentials.beside}: mend it, or take it away to use those"
    refused = f"Kaggle refuses the token; {advice}"
    remedies = dict.fromkeys((400, 401, 403, 404), refused)
    with told(f"signing in by {source}", credentials.secrets, remedies), api.build_kaggle_client() as client:
        if not token:
            login = KaggleCredentials.load(client)
            token = (login and login.get_access_token()) or ""
            refused = "holds no login that is valid; run kaggle auth login"
        request = IntrospectTokenRequest()
        request.token = token
        answer = client.security.oauth_client.introspect_token(request) if token else None
    if answer is None or not answer.active or not answer.username:
        raise InputError(f"{source}: {refused}")
    return Credentials(source, token=token, username=answer.username, beside=credentials.beside)
