"""One kind of error for people: a single line that names the file or key, the fault and the remedy."""

from __future__ import annotations

import errno
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import TracebackType
from typing import Any

_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def one_line(text: str) -> str:
    """The text with line breaks, control characters and half characters, as a file's name may hold, escaped."""
    return _BREAKS.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


class InputError(ValueError):
    """Input that cannot be used as it is. The message is one line: what, where, and how to mend it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class OtherRunError(InputError):
    """A training run that cannot go on as it is asked to; nothing of it was changed."""


class LostWorkerError(InputError):
    """A process that prepared images for a training has ended before its time."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # the disk's fault, whoever writes
_LOST = re.compile(r"^DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_TOLD = re.compile(rf"^{re.escape(InputError.__module__)}\.InputError: (.+)$", re.MULTILINE)


def input_error(error: BaseException | None) -> InputError | None:
    """The InputError at the bottom of a chain: MONAI wraps what a transform raises in errors of its own."""
    for cause in causes(error):
        # A worker process of a data loader sends its traceback as text, and no chain.
        if told := _TOLD.search(str(cause)):
            return InputError(told[1])
        if lost := _LOST.search(str(cause)):
            return LostWorkerError(
                f"process {lost[1]}, which prepared images, was killed, perhaps for want of memory; "
                "give the same command again, with --set num_workers=0 where that repeats"
            )
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return InputError(
                f"{cause.filename or 'a file of the output'}: cannot be written ({cause.strerror}); "
                "make room, then give the same command again"
            )
        if isinstance(cause, InputError):
            return cause
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it, the last one first."""
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


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint for a name that does not exist: ``did you mean NAME?``, or all names where none is near."""
    known = list(known)
    near = get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"


def readable_errors() -> None:
    """Let an InputError that ends the program print its one line and give status 2, instead of a traceback.

    The log holds no traceback of it either. Bundles call this in ``initialize``, so that
    ``python -m monai.bundle run`` speaks as the CLI does.
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
    """A line of a log, without the traceback of what one line tells."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and input_error(self.exc_info[1]):
            self.exc_info = None
