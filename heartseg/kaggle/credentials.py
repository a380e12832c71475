"""Credentials for Kaggle, as the kaggle client finds them, and errors that say what is missing, without secrets."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from heartseg.errors import InputError

USERNAME, KEY, TOKEN = "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"
SETTINGS = "https://www.kaggle.com/settings"
TOKEN_FILE = "~/.kaggle/access_token"  # of the client
HELP = f"make a token at {SETTINGS} (API) and put it in {TOKEN} or {TOKEN_FILE}"

_QUERY = re.compile(r"\?[^\s'\"<>)]+")
_HEADER = re.compile(r"\b(Basic|Bearer)\s+[^\s'\",]+", re.IGNORECASE)


@dataclass(frozen=True)
class Credentials:
    """A token, or a user name with a key, or (neither) a login by `kaggle auth login`; and where they were found.

    ``hidden`` names a key pair that is not used, since a token goes first.
    """

    source: str
    token: str = ""
    username: str = ""
    key: str = ""
    hidden: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the values that must never be shown."""
        return tuple(filter(None, (self.token, self.key)))


def find_credentials(api: Any) -> Credentials:
    """Return the credentials that the kaggle client would use: a token, then a key pair, then its own login.

    The client finds and reads them. It takes an empty variable, as of a missing secret in a workflow, for a value, and
    says little of what is missing: both are done here, before any call.

    Args:
        api: a KaggleApi.

    Raises:
        InputError: there are none, or half of a pair, or a file or variable that cannot hold a credential.
    """
    empty = [name for name in (TOKEN, USERNAME, KEY) if not os.environ.get(name, "x").strip()]
    with without_empty_variables(), redirect_stdout(io.StringIO()):  # the client prints advice
        token, source = _token()
        pair = None
        try:
            pair = _pair(api, empty)
        except InputError:
            if not token:
                raise
    if token:
        return Credentials(source, token=token, hidden=pair.source if pair else "")
    if pair:
        return pair
    from kagglesdk import KaggleCredentials

    login = Path(KaggleCredentials.DEFAULT_CREDENTIALS_FILE).expanduser()
    if login.is_file():
        return Credentials(str(login))
    state = f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty" if empty else f"{TOKEN} is not set"
    raise InputError(f"no credentials for Kaggle: {state}, and there is no {api.config}; {HELP}")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without these secrets, the queries of addresses, and authorization headers."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _HEADER.sub(r"\1 ***", _QUERY.sub("?***", text))


@contextmanager
def without_empty_variables() -> Iterator[None]:
    """Strip the client's variables, and remove those that are empty."""
    values = {name: os.environ[name].strip() for name in (TOKEN, USERNAME, KEY) if name in os.environ}
    with patch.dict(os.environ, values):
        for name in (name for name, value in values.items() if not value):
            del os.environ[name]
        yield


def _token() -> tuple[str, str]:
    """Return a token and its source; two empty strings if there is none."""
    from kagglesdk import get_access_token_from_env

    named = os.environ.get(TOKEN, "")
    file = f"the file that {TOKEN} names" if named else TOKEN_FILE
    try:
        token, source = get_access_token_from_env()
    except (OSError, UnicodeDecodeError) as error:
        fault = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"{file}: cannot be read ({fault}); {HELP}") from None
    if not token:
        if source:
            raise InputError(f"{file}: is empty; {HELP}")
        return "", ""
    if token == named and os.sep in token:  # no token has one
        raise InputError(f"{file}: is not there; {HELP}")
    source = TOKEN if token == named else file
    return _checked(token, source), source


def _pair(api: Any, empty: Iterable[str]) -> Credentials | None:
    """Return a user name and a key, each from its variable or else from kaggle.json; None if there is neither."""
    file = Path(api.config)
    held = api.read_config_file(quiet=True)
    values = api.read_config_environment(dict(held) if isinstance(held, dict) else {})
    found, sources = {}, []
    for word, name in (("username", USERNAME), ("key", KEY)):
        if isinstance(value := values.get(word), str) and value.strip():
            sources.append(name if name in os.environ else str(file))
            found[word] = _checked(value.strip(), sources[-1])
    if len(found) == 1:
        missing, word, other = (KEY, "key", "username") if "username" in found else (USERNAME, "username", "key")
        state = "empty" if missing in empty else "not set"
        if sources[0] == str(file):
            raise InputError(
                f"{file}: has {other!r}, but no {word!r}, and {missing} is {state}; download the file again"
            )
        fault = f"{file} has no {word!r}" if file.is_file() else f"there is no {file}"
        raise InputError(f"{sources[0]} is set, but {missing} is missing ({state}, and {fault}); set both")
    if not found and file.is_file():
        raise InputError(f"{file}: has no 'username' and 'key' in JSON; download it again at {SETTINGS}")
    return Credentials(" and ".join(dict.fromkeys(sources)), **found) if found else None


def _checked(value: str, source: str) -> str:
    """Return a value that can be sent in a header. InputError for any other; the value itself is never shown."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise InputError(f"{source}: holds blanks, line breaks or letters that no credential has; copy it again")
    return value
