"""Waiting for a kernel's run: polled at growing intervals, up to a limit, with each change of status shown."""

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
SHORTEST, LONGEST, GROWTH = 5.0, 60.0, 1.5  # seconds between polls: first, last, and their growth
FAULTS = 20  # polls in a row that may fail
LINES, LONGEST_LINE = 20, 300  # of the log of a failed run that are shown, and their length


class NotYetError(InputError):
    """The run is not complete, and waiting was not asked for."""


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
        service: the signed-in connection to Kaggle.
        kernel: OWNER/NAME.
        wait: False: it has to be complete now.
        minutes: how long to wait at most.
        sleep: pauses for seconds.
        clock: seconds; the time of the polls counts too.

    Raises:
        NotYetError: not complete, and ``wait`` is False.
        InputError: not complete in time; failed or cancelled, with the reason; too many failed polls.
    """
    start, slept, pause, faults = clock(), 0.0, SHORTEST, 0
    shown = ""
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
                if status.name != shown:
                    print(f"{kernel}: {status.name}", file=sys.stderr)
                shown = status.name
                if not wait:
                    raise NotYetError(f"{kernel}: is {status.name}, not complete; give --wait, or run again later")
            left = minutes * 60 - max(slept, clock() - start)
            if left <= 0:
                raise InputError(f"{kernel}: is not complete after {minutes:g} minutes; run again to keep waiting")
            sleep(min(pause, left))
            slept, pause = slept + min(pause, left), min(pause * GROWTH, LONGEST)
    except KeyboardInterrupt:
        print(f"{kernel}: keeps running; the same command waits for it again", file=sys.stderr)
        raise


def last_lines(log: str, redacted: Callable[[str], str]) -> str:
    """Return the last line of a kernel's log for the end of a message; print the last lines to stderr.

    Kaggle's logs are JSON, ``[{"stream_name", "time", "data"}]``, or plain text. They may contain the user's secrets.
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
    except InputError:  # the reason in the status matters more than why there is no log
        log = ""
    return f" ({message})" * bool(message) + last_lines(log, service.redacted)
