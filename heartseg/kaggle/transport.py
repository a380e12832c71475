"""How requests reach Kaggle: bounded in time and number, by https, and told without secrets. Needs ``requests``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError as Urllib3Error
from urllib3.exceptions import InvalidHeader
from urllib3.exceptions import TimeoutError as Urllib3Timeout
from urllib3.util import Retry

from heartseg.data import transfer
from heartseg.data.files import atomic
from heartseg.data.transfer import TransferError, save
from heartseg.errors import InputError, causes, flat
from heartseg.kaggle import TransientError
from heartseg.kaggle.credentials import SETTINGS, redact

TIMEOUT = (15.0, 60.0)  # seconds to connect, and without a byte
LONGEST_WAIT = 120.0  # seconds that a server may ask for between two attempts
LONGEST_MESSAGE = 300  # characters of what the service says
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
MISSING = "check its name, and that it is yours or public"
REMEDIES = {
    401: f"make new credentials at {SETTINGS}",
    403: MISSING,
    404: MISSING,
    429: "too many requests: wait some minutes and run again",
}
_OF_THE_NETWORK = (requests.RequestException, Urllib3Error, TransferError, ConnectionError, TimeoutError)


class Patience(Retry):
    """Attempts again after 429, 5xx and lost connections; a wait that is asked for is kept if it is bearable.

    Args:
        repeat: False for a request that must not arrive twice: it is sent again only where it surely was not taken.
    """

    def __init__(self, *args: Any, repeat: bool = True, **keys: Any) -> None:
        mine = {
            "total": transfer.ATTEMPTS - 1,
            "read": None if repeat else False,
            "other": None if repeat else 0,  # a proxy's faults
            "status_forcelist": (429, 500, 502, 503, *((504,) if repeat else ())),
            "allowed_methods": None,  # all: what the service is asked is a POST
            "backoff_factor": transfer.BACK_OFF,
            "raise_on_status": False,
        }
        super().__init__(*args, **{**mine, **keys})

    def get_retry_after(self, response: Any) -> float | None:
        """Seconds that the server asks for, if any. InputError where that is longer than `LONGEST_WAIT`."""
        try:
            seconds = super().get_retry_after(response)
        except InvalidHeader:
            return None
        if seconds is not None and seconds > LONGEST_WAIT:
            raise InputError(f"Kaggle: asks to wait {seconds:.0f} s before the next request; run again after that")
        return seconds


class Door(HTTPAdapter):
    """Every request and every redirect goes through here: it needs https (save to this machine), and has a time limit.

    Args:
        local: the service is on this machine, whose addresses may be without https.
        repeat: see `Patience`.
    """

    def __init__(self, local: bool, repeat: bool = True) -> None:
        self.local = local
        super().__init__(max_retries=Patience(repeat=repeat))

    def send(self, request: requests.PreparedRequest, *args: Any, **keys: Any) -> requests.Response:
        """As HTTPAdapter's. Raises InputError for an address without https."""
        address = urlsplit(request.url or "")
        if address.scheme != "https" and not (self.local and address.hostname in THIS_MACHINE):
            raise InputError(f"{address.hostname}: is offered without https; nothing was downloaded from there")
        keys["timeout"] = keys.get("timeout") or TIMEOUT
        return super().send(request, *args, **keys)


def mount(session: requests.Session, door: Door) -> requests.Session:
    """Let all requests of a session go through a door."""
    session.mount("https://", door)
    session.mount("http://", door)
    return session


@contextmanager
def told(what: str, secrets: Iterable[str] = (), remedies: dict[int, str] | None = None) -> Iterator[None]:
    """Turn what the kaggle client and the network raise into one line without secrets; what is printed is dropped.

    The disk's errors pass.

    Args:
        what: what was asked for, the start of the line.
        secrets: what must not be shown.
        remedies: by HTTP status, instead of `REMEDIES`.
    """
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except InputError as error:
        raise InputError(redact(str(error), secrets)) from None
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and not isinstance(error, _OF_THE_NETWORK):
            raise
        kind, reason = _reason(error, REMEDIES | (remedies or {}))
        raise kind(redact(f"{what}: {reason}", secrets)) from None


def receive(
    ask: Callable[[], requests.Response],
    path: Path,
    limit: int | None,
    progress: Callable[[int, int | None], object],
) -> None:
    """Write the body of a response to a file, whole or not at all; see `heartseg.data.transfer.save`.

    Args:
        ask: sends the request, with its own retries.
        path: the file.
        limit: bytes that it may have.
        progress: called with the bytes so far, and the total if it is known.

    Raises:
        InputError: larger than ``limit``, or an answer that is neither a file nor an error.
        requests.RequestException, TransferError: an error as answer, or the body broke off again and again.
    """

    def request(start: int) -> Any:
        response = ask()
        response.raise_for_status()
        response.raw.decode_content = True
        return response.raw

    with atomic(path) as temporary:
        save(request, temporary, limit, progress, path.name)


def _reason(error: BaseException, remedies: dict[int, str]) -> tuple[type[InputError], str]:
    """What went wrong and how to mend it, and whether time may do that."""
    chain = list(causes(error))
    for cause in chain:
        response = getattr(cause, "response", None)
        if isinstance(response, requests.Response) and response.status_code >= 400:
            code = response.status_code
            kind = TransientError if code >= 500 or code == 429 else InputError
            remedy = remedies.get(code, "run again later" if code >= 500 else "see what it says")
            return kind, f"the server answers {code} ({_message(response)}); {remedy}"
    if any(isinstance(cause, requests.JSONDecodeError) for cause in chain):
        return TransientError, "the server's answer is no JSON; see whether a proxy answers, and run again later"
    if any(isinstance(cause, (requests.Timeout, Urllib3Timeout, TimeoutError)) for cause in chain):
        return TransientError, f"the server does not answer (waited {TIMEOUT[1]:g} s); run again later"
    if any(isinstance(cause, _OF_THE_NETWORK) for cause in chain):
        return TransientError, f"the connection failed ({_cut(flat(chain[-1]))}); check the network and run again"
    return InputError, f"the kaggle client says: {_cut(flat(error))} ({type(error).__name__})"


def _message(response: requests.Response) -> str:
    try:
        said = response.json()["message"]
    except (ValueError, LookupError, TypeError, RuntimeError):  # no JSON, another JSON, or the body is gone
        said = response.reason
    return _cut(" ".join(str(said or "no reason given").split()))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."
