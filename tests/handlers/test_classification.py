"""A classifier's cases and their curves, against numbers worked out by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from heartseg.errors import InputError
from heartseg.handlers import ClassificationMetrics


def evaluate(folder: Path, cases: list[tuple[Any, Any]], classes: list[str], **options: Any) -> dict[str, Any]:
    """Return the results of an evaluation of cases, each given as its probabilities and its label."""
    engine = Engine(lambda engine, batch: [{"pred": torch.tensor(p), "label": torch.tensor(t)} for _, p, t in batch])
    metrics = ClassificationMetrics(folder, classes, **options)

    def entries(engine: Engine) -> None:
        engine.state.batch = [{"id": identity} for identity, *_ in engine.state.batch]

    engine.add_event_handler(Events.ITERATION_COMPLETED, entries)
    metrics.attach(engine)
    engine.run([[(f"case{number}", *case)] for number, case in enumerate(cases)], max_epochs=1)
    return json.loads((folder / "evaluation_results.json").read_text())


def test_one_class_of_several(tmp_path: Path) -> None:
    """Positives at 0.9 and 0.4, negatives at 0.6 and 0.2: 3 of 4 pairs are in order."""
    cases = [([0.1, 0.9], 1), ([0.6, 0.4], 1), ([0.4, 0.6], 0), ([0.8, 0.2], 0)]
    clean = evaluate(tmp_path, cases, ["without", "with"])["clean"]
    assert clean["classes"]["with"]["auroc"] == pytest.approx(0.75)
    assert clean["classes"]["with"]["auprc"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert clean["auroc"] == pytest.approx(0.75)
    assert clean["accuracy"] == 0.5
    assert clean["log_loss"] == pytest.approx(-sum(map(math.log, (0.9, 0.4, 0.4, 0.8))) / 4)
    assert clean["missing"] == 0 and clean["averaged_over"] == {"cases": 4, "seen": False}
    assert clean["cases"][1] == {
        "id": "case1",
        "seen": False,
        "accuracy": 0.0,
        "log_loss": pytest.approx(-math.log(0.4)),
        "classes": {
            "without": {"probability": pytest.approx(0.6), "label": 0},
            "with": {"probability": pytest.approx(0.4), "label": 1},
        },
    }


def test_several_classes_at_once(tmp_path: Path) -> None:
    clean = evaluate(tmp_path, [([0.9, 0.2], [1, 0]), ([0.8, 0.7], [1, 1])], ["a", "b"])["clean"]
    assert clean["classes"] == {"a": {"auroc": None, "auprc": None}, "b": {"auroc": 1.0, "auprc": 1.0}}
    assert (clean["auroc"], clean["missing"], clean["accuracy"]) == (1.0, 1, 1.0)
    losses = [-(math.log(0.9) + math.log(0.8)) / 2, -(math.log(0.8) + math.log(0.7)) / 2]
    assert clean["log_loss"] == pytest.approx(sum(losses) / 2)


def test_a_probability_of_zero_has_a_finite_loss(tmp_path: Path) -> None:
    clean = evaluate(tmp_path, [([1.0, 0.0], 1)], ["a", "b"])["clean"]
    assert clean["log_loss"] == pytest.approx(-math.log(1e-7))


def test_cases_that_were_trained_on_are_averaged_separately(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"train": ["case0"]}))
    cases = [([0.1, 0.9], 1), ([0.6, 0.4], 1), ([0.8, 0.2], 0)]
    clean = evaluate(tmp_path, cases, ["a", "b"], weights=tmp_path / "model.pt")["clean"]
    assert (clean["accuracy"], clean["seen"]["accuracy"]) == (0.5, 1.0)


def test_the_table_has_a_row_for_each_case_and_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tmp_path, [([0.25, 0.75], 1), ([0.5, 0.5], 0)], ["a", "b"])
    with open(tmp_path / "evaluation_results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert [rows[1][key] for key in ("id", "class", "probability", "label", "accuracy")] == [
        "case0",
        "b",
        "0.75",
        "1",
        "1.0",
    ]
    shown = capsys.readouterr().out
    assert "AUROC" in shown and "log loss" in shown and "mL" not in shown


def test_outputs_that_are_not_the_classes_are_refused(tmp_path: Path) -> None:
    fault = "^case0: has 3 probabilities and 1 labels for 2 classes; name each output once$"
    with pytest.raises(InputError, match=fault):
        evaluate(tmp_path, [([0.1, 0.2, 0.7], 1)], ["a", "b"])
