"""Trainings of the bundles that are killed with kill -9 end as one that was not. ``make proof`` does it many times."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from faults import children_of, group_of, outcome, start, wait, when
from proof import command, warm_up, writes

EPOCHS = 2  # the last is validated


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    warm_up()


def train(bundle: str, data: Path, out: Path, workers: int, kill: Callable[[], object] | None = None) -> int:
    """The status of a training, or that of kill -9 as soon as something is so."""
    child = start(command(bundle, data, out, workers, EPOCHS), out.with_suffix(".log"))
    if kill is not None:
        assert when(child, kill), out.with_suffix(".log").read_text()
        os.kill(child, signal.SIGKILL)
    return wait(child)


def said(out: Path) -> list[str]:
    return [line for line in out.with_suffix(".log").read_text().splitlines() if line.startswith(f"{out}: ")]


def test_left_atrium_survives_kills_in_writes_and_a_damaged_checkpoint(phantoms: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train("left_atrium", phantoms, whole, 0) == 0

    assert train("left_atrium", phantoms, run, 0, kill=lambda: (run / "model.json").exists()) == -9
    assert not (run / "checkpoint.pt").exists()
    second = run / "checkpoint.previous.pt"
    assert train("left_atrium", phantoms, run, 0, kill=lambda: second.exists() and writes(run)) == -9
    checkpoint = run / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    assert train("left_atrium", phantoms, run, 2) == 0
    assert said(run) == [f"{run}: resumes after epoch 1 of {EPOCHS}"]
    assert outcome(run) == outcome(whole)


def test_ventricles_survive_kills_with_workers_and_leave_no_process(cines: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train("ventricles", cines, whole, 0) == 0

    child = start(command("ventricles", cines, run, 2, EPOCHS), run.with_suffix(".log"))
    assert when(child, lambda: (run / "checkpoint.pt").exists() and len(children_of(child)) == 2)
    assert len(group_of(child)) == 3
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    until = time.monotonic() + 150
    while group_of(child) and time.monotonic() < until:
        time.sleep(0.1)
    assert group_of(child) == []

    def writing() -> bool:
        return (run / "checkpoint.previous.pt").exists() and writes(run)

    assert train("ventricles", cines, run, 2, kill=writing) == -9
    assert torch.load(run / "checkpoint.pt", weights_only=True)["epoch"] == 2
    assert train("ventricles", cines, run, 0) == 0
    assert outcome(run) == outcome(whole)
