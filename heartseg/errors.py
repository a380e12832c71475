"""Errors for users: one line that names the file or key, what is wrong with it, and how to fix it."""

from __future__ import annotations

import errno
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import Any

_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def one_line(text: str) -> str:
    """Escape line breaks, control characters and lone surrogates, which file names may contain."""
    return _BREAKS.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


class InputError(ValueError):
    """Input that cannot be used as it is. The message is one line: where, what is wrong, and how to fix it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class OtherRunError(InputError):
    """A training run that cannot be resumed with the given settings; nothing in it was changed."""


class LostWorkerError(InputError):
    """A worker process of a data loader was killed."""


_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EIO, errno.ENAMETOOLONG}
UNWRITABLE = _DISK_FULL | _NO_PLACE  # no fault of the code that writes


class UnwritableError(InputError, OSError):
    """A file or folder that cannot be written. It is an OSError too, for callers that name another file or remedy."""

    def __init__(self, path: object, error: OSError) -> None:
        self.errno, self.strerror = error.errno, error.strerror or flat(error)
        remedy = "use another output folder"
        if error.errno in _DISK_FULL:
            remedy = "free some space, then run the same command again"
        super().__init__(f"{path}: cannot be written ({self.strerror}); {remedy}")

    def __str__(self) -> str:
        return str(self.args[0])


_WORKER_KILLED = re.compile(r"^DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_IN_TRACEBACK = re.compile(rf"^{re.escape(InputError.__module__)}\.InputError: (.+)$", re.MULTILINE)


def input_error(error: BaseException | None) -> InputError | None:
    """Return the InputError in a chain of errors, or None: MONAI wraps what a transform raises in its own errors.

    A killed worker and a full or read-only disk become InputErrors too.
    """
    for cause in causes(error):
        # A data loader's worker process sends its traceback as text, without the chain.
        if found := _IN_TRACEBACK.search(str(cause)):
            return InputError(found[1])
        if killed := _WORKER_KILLED.search(str(cause)):
            return LostWorkerError(
                f"data loader process {killed[1]}: was killed, perhaps because memory ran out; "
                "run the same command again, with --set num_workers=0 if it happens again"
            )
        if isinstance(cause, InputError):
            return cause
        if isinstance(cause, OSError) and cause.errno in {*_DISK_FULL, errno.EROFS}:  # others may be errors of reading
            return UnwritableError(cause.filename or "an output file", cause)
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it, the most recent first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def flat(error: BaseException) -> str:
    """Return the text of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where there is no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def first_of(faults: Sequence[str]) -> str:
    """Return the first of several faults, and how many more there are."""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{faults[0]}{more}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: ``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint for an unknown name: ``did you mean NAME?``, or all known names if none is close."""
    known = list(known)
    near = get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"


def readable_errors() -> None:
    """Make an InputError that ends the program print its one line and exit with status 2, without a traceback.

    Log records lose its traceback too. Bundles call this in ``initialize``, so that ``python -m monai.bundle run``
    reports errors as the CLI does.
    """
    logging.setLogRecordFactory(_Record)
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = input_error(error)
        if found is None:
            previous(kind, error, trace)
            return
        print(f"heartseg: {found}", file=sys.stderr)
        raise SystemExit(2)

    sys.excepthook = hook


class _Record(logging.LogRecord):
    """A log record without the traceback of an InputError, whose one line says it all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and input_error(self.exc_info[1]):
            self.exc_info = None
