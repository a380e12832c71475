"""``multi_gpu.yaml``: two processes evaluate as one does, train in step, and only one of them writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from every_bundle import NAMES, ROOT, configuration, phantom
from faults import outcome, start, wait
from pairs import command as pair_command
from pairs import together
from proof import command, warm_up

from heartseg import distributed
from heartseg.data.cases import find_cases
from heartseg.training import stopping

NOTHING_IS_LEARNED = {"learning_rate": 1e-20, "weight_decay": 0, "val_interval": 1}


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    warm_up()


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest) -> str:
    configuration(ROOT / "bundles" / request.param, "multi_gpu")
    return str(request.param)


@pytest.fixture(scope="module")
def data(bundle: str, phantoms_of: Callable[[str], Path]) -> Path:
    return phantoms_of(phantom(bundle))


@pytest.fixture(scope="module")
def split(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A setting: three cases to validate, which two processes cannot share evenly, and those of other patients."""
    cases = find_cases(data, labelled=True)
    patients = {case["patient"] for case in cases[:3]}
    train = [case["id"] for case in cases if case["patient"] not in patients]
    path = tmp_path_factory.mktemp("split") / "split.json"
    path.write_text(json.dumps({"train": train, "val": [case["id"] for case in cases[:3]]}))
    return {"split_file": str(path)}


@pytest.fixture(scope="module")
def run(bundle: str, data: Path, split: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, of one epoch in which nothing is learned."""
    out = tmp_path_factory.mktemp("one") / "run"
    words = command(bundle, data, out, epochs=1, **split, **NOTHING_IS_LEARNED)
    assert wait(start(words, out.with_suffix(".log"))) == 0, out.with_suffix(".log").read_text()
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
    assert wait(start([*words, "--out", one], tmp_path / "one.log")) == 0, (tmp_path / "one.log").read_text()
    together(pair_command([*words, "--overlay", "multi_gpu", "--out", two]), tmp_path)

    found = [json.loads((folder / "evaluation_results.json").read_text()) for folder in (one, two)]
    assert len(found[0]["clean"]["cases"]) == 3
    assert found[0]["clean"]["dice"] > 0
    assert close(found[0]["clean"], found[1]["clean"])
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (one, two)]
    assert names[0] == names[1] and "evaluation_results.csv" in names[0]
    for path in one.glob("*.csv"):
        assert path.read_text() == (two / path.name).read_text(), path.name


@pytest.mark.parametrize("bundle", NAMES[-1:], indirect=True)  # cases are gathered in the same way for all
def test_robustness_by_two_is_that_by_one(bundle: str, data: Path, run: Path, tmp_path: Path) -> None:
    words = ["robustness", bundle, "--data", data, "--run", run, "--split", "val", "--severity", "moderate"]
    words += ["--artifact", "noise", "--set", "pictures=0"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert wait(start([*words, "--out", one], tmp_path / "one.log")) == 0
    together(pair_command([*words, "--overlay", "multi_gpu", "--out", two]), tmp_path)
    found = [json.loads((folder / "evaluation_results.json").read_text()) for folder in (one, two)]
    assert all(close(found[0][name], found[1][name]) for name in ("clean", "noise"))


def test_validation_by_two_is_that_by_one(
    bundle: str, data: Path, split: dict[str, str], run: Path, tmp_path: Path
) -> None:
    """The odd case is not counted twice."""
    out = tmp_path / "two"
    words = command(bundle, data, out, epochs=1, **split, **NOTHING_IS_LEARNED)
    together(pair_command([*words, "--overlay", "multi_gpu"]), tmp_path)
    rows = [json.loads((folder / "training_metrics.json").read_text())[0] for folder in (run, out)]
    assert rows[0]["val_dice"] > 0
    assert close(*({key: row[key] for key in ("val_dice", "val_loss")} for row in rows))


@pytest.fixture(scope="module")
def trained(bundle: str, data: Path, split: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two processes, and what each of them noted at its end, in 0.json and 1.json beside it."""
    folder = tmp_path_factory.mktemp("two")

    def note(parser: Any, number: int) -> None:
        weights = [
            float(tensor.double().sum()) for tensor in parser.get_parsed_content("network").state_dict().values()
        ]
        groups = parser.get_parsed_content("optimizer").param_groups
        steps = len(parser.get_parsed_content("train::dataloader"))
        found = {"weights": weights, "rate": groups[0]["lr"], "steps": steps, "size": distributed.size()}
        (folder / f"{number}.json").write_text(json.dumps(found))

    together(pair_command(two_epochs(bundle, data, split, folder / "run"), note), folder)
    return folder / "run"


def two_epochs(bundle: str, data: Path, split: dict[str, str], out: Path) -> list[object]:
    return [*command(bundle, data, out, epochs=2, val_interval=1, **split), "--overlay", "multi_gpu"]


def test_two_train_in_step(trained: Path) -> None:
    """Both have the same weights and learning rate at the end, and one of them writes."""
    first, second = (json.loads((trained.parent / f"{number}.json").read_text()) for number in range(2))
    assert first == second and first["size"] == 2
    assert len(list((trained / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize(
    "bundle", [NAMES[0], *(pytest.param(name, marks=pytest.mark.proof) for name in NAMES[1:])], indirect=True
)
def test_two_resume_exactly(bundle: str, data: Path, split: dict[str, str], trained: Path, tmp_path: Path) -> None:
    """Stopped after the first of two epochs and resumed, two processes end as if never stopped."""
    out = tmp_path / "run"
    words = two_epochs(bundle, data, split, out)

    def stopped(number: int) -> None:
        stopping.time = SimpleNamespace(monotonic=lambda: 1e6 * (out / "checkpoint.pt").exists())  # type: ignore
        pair_command([*words, "--max-minutes", "1"])(number)

    together(stopped, tmp_path)
    assert "time limit" in (tmp_path / "0.log").read_text()
    assert "time limit" not in (tmp_path / "1.log").read_text()
    assert torch.load(out / "checkpoint.pt", weights_only=True)["epoch"] == 1
    together(pair_command(words), tmp_path)
    assert outcome(out) == outcome(trained)
