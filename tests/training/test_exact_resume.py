"""Exact resume of a small training: killed anywhere, it ends as one that was not."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from toy import FILES, KINDS, Killer, Toy, alike, files, kill_at_step, killed, rows_of, same

from heartseg.data.files import sha256
from heartseg.training.checkpoints import load_checkpoint


def test_a_run_leaves_its_best_and_last_weights_and_two_checkpoints(whole: dict[str, Path]) -> None:
    folder = whole["chained"]
    assert set(files(folder)) == FILES
    now, before = (load_checkpoint(folder / name) for name in ("checkpoint.pt", "checkpoint.previous.pt"))
    assert (now["epoch"], now["finished"], before["epoch"], before["finished"]) == (5, True, 4, False)
    rows = now["state"]["summary"]["rows"]
    assert [(row["epoch"], len(row["losses"]), "metric" in row) for row in rows] == [
        *((1, 4, False), (2, 4, True), (3, 4, False), (4, 4, True), (5, 4, True))
    ]
    best = max((row for row in rows if "metric" in row), key=lambda row: row["metric"])
    assert now["best"] == {
        "metric": best["metric"],
        "epoch": best["epoch"],
        "sha256": sha256(folder / "model.pt"),
    }
    assert alike(load_checkpoint(folder / "final.pt"), now["state"]["ema"])


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_write_it_ends_the_same(
    kind: str, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every change of the folder, from the first to the last."""
    rows = [row["metric"] for row in rows_of(whole[kind]) if "metric" in row]
    better = sum(metric > max(rows[:number], default=-1e9) for number, metric in enumerate(rows))
    for at in count(1):
        folder = tmp_path / str(at)
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", Killer(at))
            if not killed(Toy(folder, kind=kind)):
                break
        Toy(folder, kind=kind).run()
        assert same(folder, whole[kind]), at
    # Five checkpoints and four that are kept; twice that of the best weights; the last validation, weights, and end.
    assert at - 1 == 9 + 2 * better + 3


@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_any_step_it_ends_the_same(kind: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """The same run, again and again: each time it gets two steps further than the last time, or an epoch."""
    kills = 0
    for step in range(1, 21, 2):
        kills += killed(Toy(tmp_path, kind=kind, act=kill_at_step(step)))
    Toy(tmp_path, kind=kind).run()
    assert kills == 10 and same(tmp_path, whole[kind])


def test_workers_change_nothing(whole: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert killed(Toy(tmp_path, act=kill_at_step(6), workers=2))
    Toy(tmp_path, workers=1).run()
    assert same(tmp_path, whole["chained"])
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: resumes after epoch 1 of 5",
        "num_workers: was 2, is 1 now, from now on",
    ]


def test_what_is_random_in_a_step_follows_from_the_seed_and_matters(whole: dict[str, Path], tmp_path: Path) -> None:
    """Dropout of another seed trains other weights."""
    toy = Toy(tmp_path)
    toy.resume.seed = 2
    toy.run()
    assert not alike(load_checkpoint(tmp_path / "final.pt"), load_checkpoint(whole["chained"] / "final.pt"))


# Stopped


def test_a_signal_stops_it_with_a_line_and_a_status(
    whole: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(trainer: SupervisedTrainer) -> None:
        if trainer.state.iteration == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        Toy(tmp_path, act=act).run()
    assert caught.value.code == 128 + signal.SIGTERM
    said = "stopped by SIGTERM; epoch 2 of 5 is saved; the same command resumes it, in this folder"
    assert capsys.readouterr().out == f"{tmp_path}: {said}\n"
    assert not (tmp_path / "final.pt").exists()
    Toy(tmp_path).run()
    assert same(tmp_path, whole["chained"])


def test_a_signal_in_the_last_validation_lets_the_run_end(
    whole: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path)

    @toy.validator.on(Events.STARTED)
    def _() -> None:
        if toy.trainer.state.epoch == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as caught:
        toy.run()
    assert caught.value.code == 128 + signal.SIGINT
    assert capsys.readouterr().out == f"{tmp_path}: stopped by SIGINT when it had finished\n"
    assert same(tmp_path, whole["chained"])


def test_a_run_out_of_time_before_a_validation_evaluates_its_last_weights_without_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "run").mkdir()
    Toy(tmp_path / "whole", interval=5).run()
    now = [0.0]

    def act(trainer: SupervisedTrainer) -> None:
        now[0] += 61 if trainer.state.iteration == 10 else 0

    with monkeypatch.context() as patch:
        patch.setattr("heartseg.training.stopping.time", SimpleNamespace(monotonic=lambda: now[0]))
        Toy(tmp_path / "run", interval=5, act=act, minutes=1).run()
    said = "time limit of 1 minutes; epoch 2 of 5 is saved; the same command resumes it, in this folder"
    assert capsys.readouterr().out == f"{tmp_path / 'run'}: {said}\n"
    assert (tmp_path / "run" / "model.pt").exists()
    saved = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert (saved["epoch"], saved["best"]) == (2, None)
    Toy(tmp_path / "run", interval=5).run()
    assert same(tmp_path / "run", tmp_path / "whole")


# What is counted


def test_early_stopping_continues_its_count(tmp_path: Path) -> None:
    """Of validations 0.1, 0.3, 0.2, 0.3, the last two are not better than the second: patience 2 ends there."""
    scores, runs = [0.1, 0.3, 0.2, 0.3, 0.4, 0.5], []
    for name, kill in (("whole", None), ("killed", kill_at_step(15))):
        (tmp_path / name).mkdir()
        settings: dict[str, Any] = {"epochs": 6, "interval": 1, "patience": 2, "scores": scores}
        if kill:
            assert killed(Toy(tmp_path / name, act=kill, **settings))
            assert load_checkpoint(tmp_path / name / "checkpoint.pt")["state"]["early_stop"]["counter"] == 1
        Toy(tmp_path / name, **settings).run()
        runs.append(load_checkpoint(tmp_path / name / "checkpoint.pt"))
    assert (runs[1]["epoch"], runs[1]["finished"], runs[1]["best"]["epoch"]) == (4, True, 2)
    assert runs[1]["state"]["plateau"]["num_bad_epochs"] == runs[0]["state"]["plateau"]["num_bad_epochs"]
    assert alike(runs[0], runs[1])


def test_a_run_that_stopped_early_is_finished_and_resumes_with_more_patience(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"epochs": 6, "interval": 1, "scores": [0.3, 0.2, 0.1, 0.4, 0.5, 0.6]}
    Toy(tmp_path, patience=2, **settings).run()
    before = files(tmp_path)
    Toy(tmp_path, patience=2, **settings).run()
    assert files(tmp_path) == before
    Toy(tmp_path, patience=3, **settings).run()
    assert load_checkpoint(tmp_path / "checkpoint.pt")["epoch"] == 6
    why = "2 validations without a better one"
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: is finished, after epoch 3 of 6: {why} (more patience continues); nothing to do",
        f"{tmp_path}: resumes after epoch 3 of 6",
        "patience: was 2, is 3 now, from now on",
    ]


def test_the_scale_of_gradients_survives(tmp_path: Path) -> None:
    """It doubles after every third step without overflow: 20 steps, 8 x 2^6, two steps into the next three."""
    runs = []
    for name, kill in (("whole", None), ("killed", kill_at_step(14))):
        (tmp_path / name).mkdir()
        if kill:
            assert killed(Toy(tmp_path / name, scaler=True, act=kill))
            saved = load_checkpoint(tmp_path / name / "checkpoint.pt")["scaler"]
            assert (saved["scale"], saved["_growth_tracker"]) == (8.0 * 2**4, 0)  # after 12 steps
        Toy(tmp_path / name, scaler=True).run()
        runs.append(load_checkpoint(tmp_path / name / "checkpoint.pt"))
    assert (runs[1]["scaler"]["scale"], runs[1]["scaler"]["_growth_tracker"]) == (8.0 * 2**6, 2)
    assert alike(runs[0], runs[1])


def test_a_metric_that_is_no_number_is_not_the_best(tmp_path: Path) -> None:
    nan = float("nan")
    Toy(tmp_path, epochs=4, interval=1, scores=[nan, 0.2, nan, 0.1]).run()
    assert load_checkpoint(tmp_path / "checkpoint.pt")["best"]["epoch"] == 2


@pytest.mark.parametrize(
    ("metric", "best"), [("val_mean_dice", 3), ("val_auroc", 3), ("val_log_loss", 2), ("val_x", 3)]
)
def test_the_table_says_which_metric_is_better(metric: str, best: int, tmp_path: Path) -> None:
    """Lower is better for a log loss; a metric that the table does not have is compared as MONAI does by default."""
    toy = Toy(tmp_path, epochs=4, interval=1, scores=[0.4, 0.1, 0.6, 0.3], metric=metric)
    toy.run()
    saved = load_checkpoint(tmp_path / "checkpoint.pt")["best"]
    assert (saved["epoch"], saved["metric"]) == (best, {2: 0.1, 3: 0.6}[best])
    assert toy.validator.state.best_metric == saved["metric"] and toy.validator.state.best_metric_epoch == best
