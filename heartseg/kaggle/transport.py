"""Requests to Kaggle: bounded in time and number, by https, with errors without secrets. Needs ``requests``."""

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
LONGEST_WAIT = 120.0  # seconds; longer waits that a server asks for are an error
LONGEST_MESSAGE = 300  # characters of a message of the service
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
MISSING = "check its name, and that it is yours or public"
REMEDIES = {
    401: f"make new credentials at {SETTINGS}",
    403: MISSING,
    404: MISSING,
    429: "too many requests: wait some minutes and run again",
}
_OF_THE_NETWORK = (requests.RequestException, Urllib3Error, TransferError, ConnectionError, TimeoutError)


class RetryPolicy(Retry):
    """Retries after 429, 5xx and lost connections, with back-off, or after the wait that the server asks for.

    Args:
        repeat: False for a request that must not arrive twice: it is sent again only if it surely was not accepted.
    """

    def __init__(self, *args: Any, repeat: bool = True, **keys: Any) -> None:
        defaults = {
            "total": transfer.ATTEMPTS - 1,
            "read": None if repeat else False,
            "other": None if repeat else 0,  # errors of a proxy
            "status_forcelist": (429, 500, 502, 503, *((504,) if repeat else ())),
            "allowed_methods": None,  # all, since every call of the service is a POST
            "backoff_factor": transfer.BACK_OFF,
            "raise_on_status": False,
        }
        super().__init__(*args, **{**defaults, **keys})

    def get_retry_after(self, response: Any) -> float | None:
        """Return the seconds that the server asks for, if any. InputError if they are over `LONGEST_WAIT`."""
        try:
            seconds = super().get_retry_after(response)
        except InvalidHeader:
            return None
        if seconds is not None and seconds > LONGEST_WAIT:
            raise InputError(f"Kaggle: asks to wait {seconds:.0f} s before the next request; run again after that")
        return seconds


class BoundedAdapter(HTTPAdapter):
    """An adapter that gives every request and redirect a time limit, and refuses those without https.

    Args:
        local: the service is on this machine, where addresses may be without https.
        repeat: see `RetryPolicy`.
    """

    def __init__(self, local: bool, repeat: bool = True) -> None:
        self.local = local
        super().__init__(max_retries=RetryPolicy(repeat=repeat))

    def send(self, request: requests.PreparedRequest, *args: Any, **keys: Any) -> requests.Response:
        """Send a request as HTTPAdapter does. Raises InputError for an address without https."""
        address = urlsplit(request.url or "")
        if address.scheme != "https" and not (self.local and address.hostname in THIS_MACHINE):
            raise InputError(f"{address.hostname}: is offered without https; nothing was downloaded from there")
        keys["timeout"] = keys.get("timeout") or TIMEOUT
        return super().send(request, *args, **keys)


def bound(session: requests.Session, adapter: BoundedAdapter) -> requests.Session:
    """Use an adapter for all requests of a session, and return the session."""
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


@contextmanager
def readable_errors(what: str, secrets: Iterable[str] = (), remedies: dict[int, str] | None = None) -> Iterator[None]:
    """Turn errors of the kaggle client and the network into one line without secrets; drop what is printed.

    Errors of the disk pass.

    Args:
        what: what was requested, the start of the line.
        secrets: what must not be shown.
        remedies: by HTTP status, instead of `REMEDIES`.
    """
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except InputError as error:
        if isinstance(error, OSError):  # UnwritableError
            raise
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
    """Return the kind of an error (transient or not), with what is wrong and how to fix it."""
    chain = list(causes(error))
    for cause in chain:
        response = getattr(cause, "response", None)
        if isinstance(response, requests.Response) and response.status_code >= 400:
            code = response.status_code
            kind = TransientError if code >= 500 or code == 429 else InputError
            remedy = remedies.get(code, "run again later" if code >= 500 else "see its message")
            return kind, f"the server answers {code} ({_message(response)}); {remedy}"
    if any(isinstance(cause, requests.JSONDecodeError) for cause in chain):
        return TransientError, "the server's answer is not JSON; check whether a proxy answers, and run again later"
    if any(isinstance(cause, (requests.Timeout, Urllib3Timeout, TimeoutError)) for cause in chain):
        return TransientError, f"the server does not answer (waited {TIMEOUT[1]:g} s); run again later"
    if any(isinstance(cause, _OF_THE_NETWORK) for cause in chain):
        return TransientError, f"the connection failed ({_cut(flat(chain[-1]))}); check the network and run again"
    return InputError, f"the kaggle client says: {_cut(flat(error))} ({type(error).__name__})"


def _message(response: requests.Response) -> str:
    try:
        said = response.json()["message"]
    except (ValueError, LookupError, TypeError, RuntimeError):  # no JSON, other JSON, or the body was read
        said = response.reason
    return _cut(" ".join(str(said or "no reason given").split()))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."
