"""Which credentials for Kaggle there are, in the client's own order, and which variable or file lacks something."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from heartseg.errors import InputError

USERNAME, KEY, TOKEN = "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"
SETTINGS = "https://www.kaggle.com/settings"
HELP = f"make a token at {SETTINGS} (API) and put it in {TOKEN} or ~/.kaggle/access_token"

_QUERY = re.compile(r"\?[^\s'\"<>)]+")
_HEADER = re.compile(r"\b(Basic|Bearer)\s+[^\s'\",]+", re.IGNORECASE)


@dataclass(frozen=True)
class Credentials:
    """A token, or a user name with a key, or (neither) a signed-in `kaggle auth login`; and where they come from.

    ``beside`` names a key pair that a token hides.
    """

    source: str
    token: str = ""
    username: str = ""
    key: str = ""
    beside: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(filter(None, (self.token, self.key)))


def find_credentials() -> Credentials:
    """The credentials that the kaggle client would use: a token, then a key pair, then its own login.

    A variable that is empty, as one of a missing secret is in a workflow, counts as not set.

    Raises:
        InputError: there are none, or only half of a pair, or a file or variable that cannot hold what it should.
    """
    token, source = _token()
    if token:
        try:
            pair = _pair()
        except InputError:
            pair = None
        return Credentials(source, token=token, beside=pair.source if pair else "")
    if pair := _pair():
        return pair
    login = _home() / "credentials.json"
    if login.is_file():
        return Credentials(str(login))
    empty = [name for name in (TOKEN, USERNAME, KEY) if name in os.environ]
    said = f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty" if empty else f"{TOKEN} is not set"
    raise InputError(f"no credentials for Kaggle: {said}, and there is no {config_file()}; {HELP}")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets, without the query of any address, and without authorization headers."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _HEADER.sub(r"\1 ***", _QUERY.sub("?***", text))


def config_file() -> Path:
    """Where the client looks for kaggle.json: KAGGLE_CONFIG_DIR, else ~/.kaggle, else the folder for settings."""
    if named := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(named) / "kaggle.json"
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle" / "kaggle.json"
    return settings if settings.is_file() and not _home().is_dir() else _home() / "kaggle.json"


def _home() -> Path:
    return Path.home() / ".kaggle"


def _token() -> tuple[str, str]:
    """A token and where it is from; two empty words where there is none."""
    value = _variable(TOKEN)
    if value:
        # Not pathlib's, which raise for a token too long for a name, and would show it.
        if os.sep in value or os.path.isfile(value):
            source = f"the file that {TOKEN} names"
            return _token_of(Path(os.path.expanduser(value)), source), source
        return _checked(value, TOKEN), TOKEN
    for file in (_home() / "access_token", _home() / "access_token.txt"):
        if file.is_file():
            return _token_of(file, str(file)), str(file)
    return "", ""


def _token_of(file: Path, source: str) -> str:
    token = _read(file, source).strip()
    if not token:
        raise InputError(f"{source}: is empty; {HELP}")
    return _checked(token, source)


def _pair() -> Credentials | None:
    """A user name and a key, each from its variable or else from kaggle.json."""
    file = config_file()
    held = _held(file) if file.is_file() else {}
    found, sources = {}, []
    for word, name in (("username", USERNAME), ("key", KEY)):
        in_file = held.get(word)
        if value := _variable(name):
            found[word] = _checked(value, name)
            sources.append(name)
        elif isinstance(in_file, str) and in_file.strip():
            found[word] = _checked(in_file.strip(), str(file))
            sources.append(str(file))
    if len(found) == 1:
        have, lacks = (USERNAME, KEY) if "username" in found else (KEY, USERNAME)
        word = "key" if lacks == KEY else "username"
        fault = f"has no {word!r}" if file.is_file() else "is not there"
        state = "empty" if lacks in os.environ else "not set"
        given = have if sources == [have] else sources[0]
        raise InputError(f"half of a pair of credentials: {given} is there, but {lacks} is {state} and {file} {fault}")
    if not found and file.is_file():
        raise InputError(f"{file}: lacks 'username' and 'key'; download it again at {SETTINGS}")
    return Credentials(" and ".join(dict.fromkeys(sources)), **found) if found else None


def _held(file: Path) -> dict[str, object]:
    try:
        content = json.loads(_read(file, str(file)) or "{}")
    except ValueError:
        content = None
    if not isinstance(content, dict):
        remedy = f"download it again at {SETTINGS}"
        raise InputError(f"{file}: does not hold {{'username': ..., 'key': ...}} as JSON; {remedy}")
    return content


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _read(file: Path, source: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fault = error.strerror if isinstance(error, OSError) else "no text"
        raise InputError(f"{source}: cannot be read ({fault}); {HELP}") from None


def _checked(value: str, source: str) -> str:
    """A word that can stand in a header. The value itself is never shown."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise InputError(f"{source}: holds blanks, line breaks or letters that no credential has; copy it again")
    return value
