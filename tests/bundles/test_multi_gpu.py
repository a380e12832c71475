"""``multi_gpu.yaml``: two processes judge as one does, train in step, and one of them writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import outcome, start, wait
from pairs import command as pair_command
from pairs import together
from proof import command, warm_up

from heartseg import distributed
from heartseg.phantoms.writing import write_phantoms

KINDS = {"left_atrium": "atrium", "ventricles": "cine"}


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    warm_up()


@pytest.fixture(scope="module", params=KINDS)
def bundle(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def data(bundle: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases to validate, which two processes cannot share evenly, or as many patients of two frames."""
    folder = tmp_path_factory.mktemp("data")
    return write_phantoms(folder / "data", kind=KINDS[bundle], cases=9 if bundle == "left_atrium" else 4, size="small")


@pytest.fixture(scope="module")
def run(bundle: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, of two epochs."""
    out = tmp_path_factory.mktemp("one") / "run"
    assert wait(start(command(bundle, data, out, epochs=2), out.with_suffix(".log"))) == 0
    return out


def close(one: Any, two: Any) -> bool:
    """Equal, numbers to 1e-6."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(close(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(close, one, two))
    return one == two or (isinstance(one, float) and abs(one - two) <= 1e-6)


def test_an_evaluation_by_two_is_that_by_one(bundle: str, data: Path, run: Path, tmp_path: Path) -> None:
    words = ["evaluate", bundle, "--data", data, "--run", run, "--split", "val", "--set", "pictures=1"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert wait(start([*words, "--out", one], tmp_path / "one.log")) == 0
    together(pair_command([*words, "--overlay", "multi_gpu", "--out", two]), tmp_path)

    found = [json.loads((folder / "evaluation_results.json").read_text()) for folder in (one, two)]
    assert len(found[0]["clean"]["cases"]) == (3 if bundle == "left_atrium" else 2)
    assert found[0]["clean"]["dice"] > 0
    assert close(found[0]["clean"], found[1]["clean"])
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (one, two)]
    assert names[0] == names[1]
    assert (one / "evaluation_results.csv").read_text() == (two / "evaluation_results.csv").read_text()
    if bundle == "ventricles":
        assert (one / "clinical.csv").read_text() == (two / "clinical.csv").read_text()


@pytest.mark.parametrize("bundle", ["ventricles"], indirect=True)  # what cases are gathered by is of no bundle
def test_robustness_by_two_is_that_by_one(bundle: str, data: Path, run: Path, tmp_path: Path) -> None:
    words = ["robustness", bundle, "--data", data, "--run", run, "--split", "val", "--severity", "moderate"]
    words += ["--artifact", "noise", "--set", "pictures=0"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert wait(start([*words, "--out", one], tmp_path / "one.log")) == 0
    together(pair_command([*words, "--overlay", "multi_gpu", "--out", two]), tmp_path)
    found = [json.loads((folder / "evaluation_results.json").read_text()) for folder in (one, two)]
    assert all(close(found[0][name], found[1][name]) for name in ("clean", "noise"))


def test_validation_by_two_is_that_by_one(bundle: str, data: Path, run: Path, tmp_path: Path) -> None:
    """Where nothing is learned, what is validated is the same; and the case that is odd is not counted twice."""
    rows = []
    for name in ("one", "two"):
        out = tmp_path / name
        words = [*command(bundle, data, out, epochs=1), "--weights", run / "model.pt"]
        words += ["--set", "learning_rate=1.0e-20", "--set", "weight_decay=0", "--set", "val_interval=1"]
        if name == "one":
            assert wait(start(words, tmp_path / "one.log")) == 0
        else:
            together(pair_command([*words, "--overlay", "multi_gpu"]), tmp_path)
        [row] = json.loads((out / "training_metrics.json").read_text())
        rows.append({key: row[key] for key in ("val_dice", "val_loss")})
    assert rows[0]["val_dice"] > 0
    assert close(*rows)


def test_two_train_in_step_and_go_on_exactly(bundle: str, data: Path, tmp_path: Path) -> None:
    """The same weights and rate in both after every step of the schedule; stopped after an epoch and not, the same."""

    def note(parser: Any, number: int) -> None:
        weights = [
            float(tensor.double().sum()) for tensor in parser.get_parsed_content("network").state_dict().values()
        ]
        groups = parser.get_parsed_content("optimizer").param_groups
        steps = len(parser.get_parsed_content("train::dataloader"))
        told = {"weights": weights, "rate": groups[0]["lr"], "steps": steps, "size": distributed.size()}
        (tmp_path / f"{number}.json").write_text(json.dumps(told))

    def words(out: Path, epochs: int) -> list[object]:
        return [*command(bundle, data, out, epochs=epochs), "--overlay", "multi_gpu", "--set", "val_interval=1"]

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    together(pair_command(words(whole, 2), note), tmp_path)
    told = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2)]
    assert told[0] == told[1]
    assert told[0]["size"] == 2
    assert [path.name for path in (whole / "tensorboard").iterdir()] != []
    assert len(list((whole / "tensorboard").iterdir())) == 1, "one writer"

    together(pair_command([*words(parts, 2), "--max-minutes", "0.0101"]), tmp_path)  # over before the first epoch is
    assert "time limit" in (tmp_path / "0.log").read_text()
    assert "time limit" not in (tmp_path / "1.log").read_text()
    assert (
        not torch.load(parts / "checkpoint.pt", weights_only=True)["finished"]
        if (parts / "checkpoint.pt").exists()
        else True
    )
    together(pair_command(words(parts, 2)), tmp_path)
    assert outcome(parts) == outcome(whole)
