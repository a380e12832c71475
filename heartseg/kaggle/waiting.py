"""Until a kernel's run is complete: asked for ever more rarely, told when it changes, and not for ever."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from heartseg.errors import InputError, one_line
from heartseg.kaggle import TransientError
from heartseg.kaggle.service import Service

COMPLETE = "COMPLETE"
ACTIVE = ("QUEUED", "RUNNING", "NEW_SCRIPT")
SHORTEST, LONGEST, GROWTH = 5.0, 60.0, 1.5  # seconds between two questions: at first, at last, and by what they grow
FAULTS = 20  # questions in a row that may go without answer
LINES, LONGEST_LINE = 20, 300  # of the log of a run that failed, and characters of each


class NotYetError(InputError):
    """A run that is not complete, and was not waited for."""


def wait_for(
    service: Service,
    kernel: str,
    wait: bool,
    minutes: float,
    sleep: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Return when the last run of a kernel is complete.

    Args:
        service: the signed-in door to Kaggle.
        kernel: OWNER/NAME.
        wait: False: it must be complete now.
        minutes: how long to wait at most.
        sleep: pauses for seconds.
        clock: seconds; what questions take counts too.

    Raises:
        NotYetError: not complete, and ``wait`` is False.
        InputError: not complete or not in time; failed or cancelled, with its reason; no answer again and again.
    """
    began, slept, pause, faults = clock(), 0.0, SHORTEST, 0
    told = ""
    try:
        while True:
            try:
                status, faults = service.status(kernel), 0
            except TransientError:
                faults += 1
                if not wait or faults == FAULTS:
                    raise
            else:
                if status.name == COMPLETE:
                    return
                if status.name not in ACTIVE:
                    raise InputError(f"{kernel}: ended as {status.name}{_reason(service, kernel, status.message)}")
                told = _tell(kernel, status.name, told)
                if not wait:
                    raise NotYetError(f"{kernel}: is {status.name}, not complete; give --wait, or run again later")
            left = minutes * 60 - max(slept, clock() - began)
            if left <= 0:
                raise InputError(f"{kernel}: is not complete after {minutes:g} minutes; run again to wait on")
            sleep(min(pause, left))
            slept, pause = slept + min(pause, left), min(pause * GROWTH, LONGEST)
    except KeyboardInterrupt:
        print(f"{kernel}: goes on by itself; the same command waits for it again", file=sys.stderr)
        raise


def last_lines(log: str, redacted: Callable[[str], str]) -> str:
    """The last line of a kernel's log for the end of a message; the lines before it go to stderr.

    Kaggle's logs are JSON, ``[{"stream_name", "time", "data"}]``, or plain text. They may hold the user's own secrets.
    """
    with suppress(ValueError, LookupError, TypeError):
        log = "".join(part["data"] for part in json.loads(log))
    lines = [one_line(redacted(line.strip()))[:LONGEST_LINE] for line in log.splitlines() if line.strip()]
    for line in lines[-LINES:]:
        print(f"  {line}", file=sys.stderr)
    return f"; its log ends: {lines[-1]}" if lines else ""


def _reason(service: Service, kernel: str, message: str) -> str:
    try:
        _, log = service.outputs(kernel)
    except InputError:  # what the status says is worth more than why there is no log
        log = ""
    return f" ({message})" * bool(message) + last_lines(log, service.redacted)


def _tell(kernel: str, name: str, told: str) -> str:
    if name != told:
        print(f"{kernel}: {name}", file=sys.stderr)
    return name
