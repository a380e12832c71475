"""How a run is stopped from outside: signals, and a limit of time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ignite.engine import Engine, Events

from heartseg import distributed

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 1.0  # seconds in which torchrun sends its processes a signal that they have had from the terminal


class Stop:
    """Attached to the trainer: ends it after the step in which a signal came, or when its time is over.

    With a limit of time no epoch begins that the longest so far says will not end within it, since a resumed run
    begins with a whole epoch.

    Args:
        max_minutes: from `listen` on; None: no limit.

    ``reason`` says afterwards why it stopped, in words; ``signal`` is the signal's number, if one did it. Other
    handlers read ``stop_reason`` and ``in_a_hurry`` (a signal came) in the trainer's state.

    Of several processes that train together all end after the same step, whichever of them was told.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self.max_minutes = max_minutes
        self.reason: str | None = None
        self.signal: int | None = None
        self._began = time.monotonic()
        self._epoch_began = 0.0
        self._longest = 0.0
        self._process = os.getpid()
        self._heard = 0.0

    def attach(self, engine: Engine) -> None:
        """Register with the trainer, after the handlers that belong to an epoch or a step."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._check)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM: the first ends the step, the second the process, at once."""
        self._began = time.monotonic()
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may listen to signals
            return
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._process != os.getpid():  # a worker of a data loader, which inherits this
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return  # Ctrl-C reaches all processes of a terminal; the first of them says what to do
        name = signal.Signals(number).name
        if self.signal is not None and distributed.size() > 1 and time.monotonic() - self._heard < ECHO:
            return
        if self.signal is not None:
            os.write(2, f"heartseg: {name} again: left at once\n".encode())
            os._exit(128 + number)
        self.signal, self._heard = number, time.monotonic()
        self.reason = f"stopped by {name}"
        os.write(2, f"heartseg: {name}: stopping after this step; once more leaves at once\n".encode())

    def _epoch_started(self, engine: Engine) -> None:
        self._epoch_began = time.monotonic()

    def _check(self, engine: Engine) -> None:
        length = engine.state.epoch_length
        whole = length is not None and engine.state.iteration % length == 0  # it is to be saved, whatever the time
        self._end(engine, over=self._left() <= 0 and not whole)

    def _epoch_completed(self, engine: Engine) -> None:
        self._longest = max(self._longest, time.monotonic() - self._epoch_began)
        last = engine.state.epoch == engine.state.max_epochs
        self._end(engine, over=self._left() < self._longest and not last)

    def _end(self, engine: Engine, over: bool) -> None:
        is_over, told = map(int, distributed.highest(over, self.signal or 0))
        if told:
            self.signal, self.reason = told, f"stopped by {signal.Signals(told).name}"
        elif is_over:
            self.reason = f"time limit of {self.max_minutes:g} minutes"
        if told or is_over:
            setattr(engine.state, "stop_reason", self.reason)  # noqa: B010 - ignite's State takes any name
            setattr(engine.state, "in_a_hurry", self.signal is not None)  # noqa: B010
            engine.terminate()

    def _left(self) -> float:
        """Seconds that are left."""
        if self.max_minutes is None:
            return float("inf")
        return 60 * self.max_minutes - (time.monotonic() - self._began)


def stop_reason(engine: Engine) -> str | None:
    """Why a trainer was stopped by a signal or a limit of time, in words; None where it was not."""
    return getattr(engine.state, "stop_reason", None)
