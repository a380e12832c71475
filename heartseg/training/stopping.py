"""Signals and a time limit, which stop a run from outside."""

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
ECHO = 1.0  # seconds within which torchrun repeats a signal that its processes got from the terminal


class Stop:
    """Attached to the trainer: stop it after the step in which a signal arrived, or when its time is over.

    With a time limit, no epoch starts that would exceed it if it took as long as the longest so far, since a resumed
    run starts with a whole epoch.

    Args:
        max_minutes: from `listen` on; None: no limit.

    Afterwards ``reason`` says why it stopped, and ``signal`` is the signal's number if there was one. Other handlers
    read ``stop_reason`` and ``in_a_hurry`` (a signal arrived) in the trainer's state.

    Several processes that train together all stop after the same step, whichever of them got the signal.
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
        """Register with the trainer, after the handlers of an epoch or a step."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._check)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM: the first stops after the step, the second quits at once."""
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
            return  # Ctrl-C reaches all processes of a terminal; the first one decides
        name = signal.Signals(number).name
        if self.signal is not None and distributed.size() > 1 and time.monotonic() - self._heard < ECHO:
            return
        if self.signal is not None:
            os.write(2, f"heartseg: {name} again: quit at once\n".encode())
            os._exit(128 + number)
        self.signal, self._heard = number, time.monotonic()
        self.reason = f"stopped by {name}"
        os.write(2, f"heartseg: {name}: stopping after this step; send it again to quit at once\n".encode())

    def _epoch_started(self, engine: Engine) -> None:
        self._epoch_began = time.monotonic()

    def _check(self, engine: Engine) -> None:
        length = engine.state.epoch_length
        whole = length is not None and engine.state.iteration % length == 0  # a whole epoch is saved, whatever the time
        self._end(engine, over=self._left() <= 0 and not whole)

    def _epoch_completed(self, engine: Engine) -> None:
        self._longest = max(self._longest, time.monotonic() - self._epoch_began)
        last = engine.state.epoch == engine.state.max_epochs
        self._end(engine, over=self._left() < self._longest and not last)

    def _end(self, engine: Engine, over: bool) -> None:
        is_over, number = map(int, distributed.highest(over, self.signal or 0))
        if number:
            self.signal, self.reason = number, f"stopped by {signal.Signals(number).name}"
        elif is_over:
            self.reason = f"time limit of {self.max_minutes:g} minutes"
        if number or is_over:
            setattr(engine.state, "stop_reason", self.reason)  # noqa: B010 - ignite's State takes any name
            setattr(engine.state, "in_a_hurry", self.signal is not None)  # noqa: B010
            engine.terminate()

    def _left(self) -> float:
        """Return the seconds that are left."""
        if self.max_minutes is None:
            return float("inf")
        return 60 * self.max_minutes - (time.monotonic() - self._began)


def stop_reason(engine: Engine) -> str | None:
    """Return why a trainer was stopped by a signal or a time limit; None if it was not."""
    return getattr(engine.state, "stop_reason", None)
