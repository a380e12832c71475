"""A third bundle, of another kind, is its own folder: a 2D classifier of pictures works by its path alone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import start, wait, when
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from third_bundle import write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("third") / "discs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen noisy pictures; in every other one there is a disc."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:20, :20]
    for number in range(18):
        x, y = random.uniform(6, 14, 2)
        disc = (number % 2) * 60.0 * ((rows - x) ** 2 + (columns - y) ** 2 < 16)
        picture = np.clip(random.normal(100, 30, (20, 20)) + disc, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"picture{number:02}_{number % 2}.png")
    return folder


@pytest.fixture(scope="module")
def whole(bundle: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    log = run.with_suffix(".log")
    assert wait(start(["train", bundle, "--data", data, "--out", run], log)) == 0, log.read_text()
    return run


def outcome(run: Path) -> dict[str, Any]:
    """Weights to the bit, and the history without its times."""
    states = {name: torch.load(run / name, weights_only=True) for name in ("model.pt", "final.pt")}
    history = json.loads((run / "training_metrics.json").read_text())
    return {
        **{name: {key: value.numpy().tobytes() for key, value in state.items()} for name, state in states.items()},
        "history": [{key: value for key, value in row.items() if key != "minutes"} for row in history],
    }


def test_it_trains_and_keeps_its_key_metric_under_its_own_name(whole: Path) -> None:
    history = json.loads((whole / "training_metrics.json").read_text())
    assert list(history[-1]) == ["epoch", "train_loss", "val_loss", "val_auroc", "learning_rate", "minutes"]
    summary = json.loads((whole / "run_summary.json").read_text())
    assert summary["best"]["metric"] == "val_auroc"
    assert summary["best"]["value"] == max(row["val_auroc"] for row in history)
    assert summary["settings"]["size"] == [16, 16] and summary["settings"]["noise"] == 0.05
    assert "| best | val_auroc " in (whole / "run_summary.md").read_text()


def test_tensorboard_has_loss_and_auroc(whole: Path) -> None:
    events = EventAccumulator(str(whole / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"train_loss", "val_auroc", "learning_rate"} <= set(tags["scalars"]) and tags["graph"]
    assert len(events.Scalars("val_auroc")) == 6


def test_killed_and_resumed_it_ends_the_same(bundle: Path, data: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", bundle, "--data", data, "--out", run, "--set", "num_workers=0"]
    child = start(words, tmp_path / "log")
    assert when(child, (run / "checkpoint.pt").exists), (tmp_path / "log").read_text()
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    assert wait(start(words, tmp_path / "log")) == 0, (tmp_path / "log").read_text()
    assert "resumes after epoch " in (tmp_path / "log").read_text()
    assert outcome(run) == outcome(whole)


def test_a_changed_knob_is_compared(
    bundle: Path, data: Path, whole: Path, heartseg: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, err = heartseg("train", bundle, "--data", data, "--out", whole, "--overlay", "wide")
    assert status == 2 and "size was [16, 16], is [24, 24] now; " in err
    status, _, err = heartseg("train", bundle, "--data", data, "--out", whole, "--set", "batch_size=0")
    assert (status, err.splitlines()[-1]) == (
        2,
        "heartseg: --set batch_size: 0 is not a positive number, as in batch_size=4",
    )


def test_it_is_evaluated_and_compared(
    bundle: Path, data: Path, whole: Path, tmp_path: Path, heartseg: Callable[..., tuple[int, str, str]]
) -> None:
    for weights in ("model.pt", "final.pt"):
        words = ["evaluate", bundle, "--data", data, "--weights", whole / weights, "--split", "val"]
        status, out, err = heartseg(*words, "--out", tmp_path / weights)
        assert status == 0, err
        assert "AUROC" in out
    results = json.loads((tmp_path / "model.pt" / "evaluation_results.json").read_text())
    assert results["provenance"]["size"] == [16, 16]
    clean = results["clean"]
    assert len(clean["cases"]) == 6 and clean["averaged_over"] == {"cases": 6, "seen": False}
    best = json.loads((whole / "run_summary.json").read_text())["best"]["value"]
    assert clean["auroc"] == pytest.approx(best)

    folders = [tmp_path / weights for weights in ("model.pt", "final.pt")]
    status, out, err = heartseg("compare", *folders, "--out", tmp_path / "comparison", "--metric", "log_loss")
    assert status == 0, err
    assert "log loss of 6 unseen cases" in out and (tmp_path / "comparison" / "comparison.png").is_file()
    compared = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert list(compared["conditions"]["clean"]["metrics"]) == ["accuracy", "log_loss"]


def test_a_run_hands_its_knobs_to_an_evaluation(
    bundle: Path, data: Path, tmp_path: Path, heartseg: Callable[..., tuple[int, str, str]]
) -> None:
    words = ["train", bundle, "--data", data, "--out", tmp_path / "run", "--overlay", "wide", "--overlay", "quick"]
    assert heartseg(*words)[0] == 0
    words = ["evaluate", bundle, "--data", data, "--run", tmp_path / "run", "--out", tmp_path / "eval"]
    assert heartseg(*words)[0] == 0
    results = json.loads((tmp_path / "eval" / "evaluation_results.json").read_text())
    assert results["provenance"]["size"] == [24, 24]


def test_a_classifier_is_not_asked_for_masks(bundle: Path, heartseg: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    status, _, said = heartseg("segment", bundle, tmp_path / "scan.nii.gz", "--out", tmp_path / "masks")
    wanted = f"heartseg: {bundle}: cannot write masks: inference.yaml has no classes; use heartseg evaluate\n"
    assert (status, said) == (2, wanted)
