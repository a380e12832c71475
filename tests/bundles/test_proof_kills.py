"""Trainings that are killed with kill -9 end as one that was not. ``tests/proof.py`` does it many times."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from every_bundle import each_name, phantom
from faults import outcome, start, wait, when
from proof import command, warm_up, writes

EPOCHS = 2  # the last is validated


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    warm_up()


def train(bundle: str, data: Path, out: Path, workers: int, kill: Callable[[], object] | None = None) -> int:
    """Return the status of a training, or that of kill -9 as soon as ``kill()`` is true."""
    child = start(command(bundle, data, out, workers, EPOCHS), out.with_suffix(".log"))
    if kill is not None:
        assert when(child, kill), out.with_suffix(".log").read_text()
        os.kill(child, signal.SIGKILL)
    return wait(child)


@pytest.mark.proof  # test_proof_faults.py has the same of one bundle
@each_name
def test_a_training_survives_kills_in_writes_and_a_damaged_checkpoint(
    bundle: str, phantoms_of: Callable[[str], Path], tmp_path: Path
) -> None:
    data = phantoms_of(phantom(bundle))
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(bundle, data, whole, 0) == 0

    assert train(bundle, data, run, 0, kill=lambda: (run / "model.json").exists()) == -9
    assert not (run / "checkpoint.pt").exists()
    second = run / "checkpoint.previous.pt"
    assert train(bundle, data, run, 0, kill=lambda: second.exists() and writes(run)) == -9
    checkpoint = run / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    assert train(bundle, data, run, 2) == 0
    said = [line for line in run.with_suffix(".log").read_text().splitlines() if line.startswith(f"{run}: ")]
    assert said == [f"{run}: resumes after epoch 1 of {EPOCHS}"]
    assert outcome(run) == outcome(whole)
