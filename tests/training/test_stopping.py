"""Stopping a run from outside."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import fork, wait
from ignite.engine import Engine, Events
from monai.handlers import stopping_fn_from_metric

from heartseg.handlers import ResumableEarlyStop
from heartseg.training import stopping
from heartseg.training.stopping import Stop

STEPS = 5


def train(stop: Stop, act: Callable[[Engine], None], epochs: int = 4) -> Engine:
    """Epochs of five steps, with something that happens within each of them."""
    engine = Engine(lambda engine, _: act(engine))
    stop.attach(engine)
    with stop.listen():
        engine.run(range(STEPS), max_epochs=epochs)
    return engine


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")])
def test_a_signal_ends_the_run_after_its_step(number: int, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    stop, done = Stop(), []

    def act(engine: Engine) -> None:
        if engine.state.iteration == 8:
            os.kill(os.getpid(), number)
        done.append(engine.state.iteration)

    before = [signal.getsignal(one) for one in stopping.SIGNALS]
    engine = train(stop, act)
    assert done == [1, 2, 3, 4, 5, 6, 7, 8]  # the eighth is finished
    assert (stop.signal, stop.reason) == (number, f"stopped by {name}")
    assert (engine.state.stop_reason, engine.state.in_a_hurry) == (f"stopped by {name}", True)
    assert [signal.getsignal(one) for one in stopping.SIGNALS] == before
    assert capfd.readouterr().err == f"heartseg: {name}: stopping after this step; send it again to quit at once\n"


def test_a_signal_between_epochs_begins_no_other_one() -> None:
    stop = Stop()
    engine = Engine(lambda *_: None)

    @engine.on(Events.EPOCH_COMPLETED(once=2))
    def _() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    stop.attach(engine)
    with stop.listen():
        engine.run(range(STEPS), max_epochs=4)
    assert (engine.state.epoch, engine.state.iteration) == (2, 2 * STEPS)
    assert engine.state.stop_reason == "stopped by SIGTERM"


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGINT"), ("SIGINT", "SIGTERM"), ("SIGINT", "SIGINT")])
def test_a_second_signal_leaves_at_once(first: str, second: str, tmp_path: Path) -> None:
    def act(engine: Engine) -> None:
        for name in (first, second):
            os.kill(os.getpid(), signal.Signals[name])
            time.sleep(0.01)
        time.sleep(600)

    log = tmp_path / "log"
    assert wait(fork(lambda: train(Stop(), act), log), 200) == 128 + signal.Signals[second]
    assert log.read_text().splitlines() == [
        f"heartseg: {first}: stopping after this step; send it again to quit at once",
        f"heartseg: {second} again: quit at once",
    ]


def test_workers_leave_ctrl_c_to_the_trainer_and_end_on_sigterm(tmp_path: Path) -> None:
    statuses = []

    def act(engine: Engine) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            worker = os.fork()
            if not worker:
                os.kill(os.getpid(), number)
                time.sleep(0.01)
                os._exit(7)
            statuses.append(wait(worker, 200))

    stop = Stop()
    train(stop, act, epochs=1)
    assert statuses == [7, 128 + signal.SIGTERM] * STEPS and stop.reason is None


def test_outside_the_main_thread_nothing_listens() -> None:
    before = [signal.getsignal(one) for one in stopping.SIGNALS]
    ends = []
    thread = threading.Thread(target=lambda: ends.append(train(Stop(), lambda engine: None).state.epoch))
    thread.start()
    thread.join()
    assert ends == [4] and [signal.getsignal(one) for one in stopping.SIGNALS] == before


# Time


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: self.now))  # not everybody's

    def take(self, *seconds: float) -> Callable[[Engine], None]:
        """Steps that take as long as their epoch says."""

        def act(engine: Engine) -> None:
            self.now += seconds[engine.state.epoch - 1]

        return act


@pytest.mark.parametrize(
    ("minutes", "seconds", "steps"),
    [
        (2.0, (6.0, 6.0, 6.0, 6.0), 20),  # just enough
        (1.9, (6.0, 6.0, 6.0, 6.0), 15),  # 24 seconds are left, and an epoch takes 30
        (1.5, (12.0, 5.0, 5.0, 5.0), 5),  # the longest one counts
        (1.5, (6.0, 6.0, 11.0, 6.0), 13),  # within an epoch that was expected to end: after the step
        (0.1, (4.0, 4.0, 4.0, 4.0), 2),  # not even one
        (None, (1e6, 1e6, 1e6, 1e6), 20),
    ],
)
def test_no_epoch_begins_that_cannot_end(
    minutes: float | None, seconds: tuple[float, ...], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop(minutes)
    engine = train(stop, Clock(monkeypatch).take(*seconds))
    assert engine.state.iteration == steps
    assert stop.signal is None
    assert stop.reason == (None if steps == 20 else f"time limit of {minutes:g} minutes")
    if steps < 20:
        assert (engine.state.stop_reason, engine.state.in_a_hurry) == (stop.reason, False)


def test_a_run_that_ends_in_time_was_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where no other epoch would have had the time."""
    engine = train(stop := Stop(0.6), Clock(monkeypatch).take(6.0), epochs=1)
    assert stop.reason is None and not hasattr(engine.state, "stop_reason")


# Early stopping


def test_the_count_of_early_stopping_can_be_saved() -> None:
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.9])
    trainer, validator = Engine(lambda *_: None), Engine(lambda *_: None)
    first = ResumableEarlyStop(3, stopping_fn_from_metric("dice"))
    first.attach(validator)
    first.set_trainer(trainer)

    def judge(count: int) -> None:
        for _ in range(count):
            validator.state.metrics = {"dice": next(scores)}
            validator.fire_event(Events.EPOCH_COMPLETED)

    judge(3)
    assert first.state_dict() == {"counter": 2, "best_score": 0.5} and not trainer.should_terminate
    validator, other = Engine(lambda *_: None), Engine(lambda *_: None)
    second = ResumableEarlyStop(3, stopping_fn_from_metric("dice"))
    second.attach(validator)
    second.set_trainer(other)
    second.load_state_dict(first.state_dict())
    judge(1)
    assert second.state_dict() == {"counter": 3, "best_score": 0.5} and other.should_terminate
    judge(1)
    assert second.state_dict() == {"counter": 0, "best_score": 0.9}
