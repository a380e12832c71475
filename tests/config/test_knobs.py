"""Knobs are declared once, by where they stand: a bundle is copied and given one more."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from every_bundle import BUNDLES, each_bundle
from monai.bundle import ConfigParser
from refusals import refusal

from heartseg.config import check_knobs, knobs, settings
from heartseg.config.composition import compose, settings_of_run
from heartseg.config.knobs import GROUPS, RECORDED, grouped, limits
from heartseg.config.values import Limit
from heartseg.errors import InputError
from heartseg.phantoms import write_phantoms

YAML = """
imports: [$import heartseg]
_paths_: where
bundle_root: {root}
output_dir: out
device: cpu
_split_: cases
seed: 3
split_file: a.json
_weights_: with the weights
size: [1, 2]
double: "$[2 * side for side in @size]"
_free_: the rest
rate: 0.5   # [> 0 or 0, 1] of something
_system_: the end
after: 2
knobs: $heartseg.config.knobs()
settings: "$heartseg.config.settings('_free_')"
check: $heartseg.config.check_knobs()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text(YAML.format(root=tmp_path))
    return tmp_path


def parser_of(folder: Path, **values: object) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(folder / "configs" / "a.yaml")
    parser.update(values)
    return parser


def test_a_knob_belongs_to_the_heading_above_it(folder: Path) -> None:
    groups = grouped(yaml.safe_load((folder / "configs" / "a.yaml").read_text()))
    assert {name: list(values) for name, values in groups.items()} == {
        "_paths_": ["bundle_root", "output_dir", "device"],
        "_split_": ["seed", "split_file"],
        "_weights_": ["size", "double"],
        "_free_": ["rate"],
    }


def test_a_configuration_finds_its_own_knobs_resolved(folder: Path) -> None:
    """As they are set, without paths: those of a split may move."""
    parser = parser_of(folder, size=[3, 4])
    found = parser.get_parsed_content("knobs")
    assert found == {"_split_": {"seed": 3}, "_weights_": {"size": [3, 4], "double": [6, 8]}, "_free_": {"rate": 0.5}}
    assert parser.get_parsed_content("settings") == {"rate": 0.5}


def test_outside_a_configuration_there_are_none() -> None:
    for ask in (knobs, settings, check_knobs):
        with pytest.raises(RuntimeError, match="an expression in a bundle's YAML"):
            ask()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("rate", 0, "rate: 0 is not a positive number; change it"),
        ("rate", 1.5, "rate: 1.5 is not a share from 0 to 1; change it"),
        ("rate", float("inf"), "rate: inf is not a positive number; change it"),
        ("device", "gpu", "device: gpu cannot be used here"),
    ],
)
def test_a_value_that_no_run_can_have_is_refused(name: str, value: object, line: str, folder: Path) -> None:
    with pytest.raises(Exception, match="check_knobs") as info:
        parser_of(folder, **{name: value}).get_parsed_content("check")
    assert isinstance(info.value.__cause__, InputError)
    assert str(info.value.__cause__).startswith(line)


def test_values_that_a_run_can_have_are_accepted(folder: Path) -> None:
    """A number without a limit may have any sign and size: an axis of -1, Hounsfield units, a cap of infinity."""
    parser = parser_of(folder, rate=1.0, seed=-1, size=[-1024, float("inf")], after=-5)
    assert parser.get_parsed_content("check") is None


@pytest.mark.parametrize(
    "name", ["_weight_", "_Weights_", "_weights", "weights_", "_schedule", "_evaluating_", "_sytem_"]
)
def test_an_unknown_heading_is_refused(name: str) -> None:
    """It would take a whole group along: nothing below it would be recorded or compared."""
    config = {"_paths_": "where", "output_dir": "out", name: "what", "size": 3}
    assert re.match(f"{name}: is not a heading of knobs; (did you mean _|there are: _)", refusal(grouped, config))


def test_a_knob_above_all_headings_is_refused() -> None:
    fault = "rate: is above all headings of knobs; move it below the one that it belongs to"
    assert refusal(grouped, {"imports": [], "rate": 1, "_free_": "free", "noise": 2, "_system_": "end"}) == fault
    assert grouped({"imports": [], "rate": 1, "network": {}}) == {}  # without headings nothing is a knob


@pytest.mark.parametrize(
    ("comment", "limit"),
    [
        ("# [> 0] of them", Limit(positive=True)),
        ("#[>0]", Limit(positive=True)),
        ("#  [0,1 or null] of them", Limit(share=True, null=True)),
        ("# [1] He et al.", None),
        ("# [image, label]", "b.yaml:2: steps: [image,label] is not a limit; write [> 0], [0, 1] or [null]"),
        ("# [>= 2] of them", "b.yaml:2: steps: [>=2] is not a limit; write [> 0], [0, 1] or [null]"),
    ],
)
def test_limits_stand_in_comments(comment: str, limit: Limit | str | None, folder: Path) -> None:
    rate = {"rate": Limit(positive=True, share=True)}
    assert limits(folder) == rate
    (folder / "configs" / "sub").mkdir()
    path = folder / "configs" / "sub" / "b.yaml"
    path.write_text(f"_free_: of an overlay\nsteps: 3  {comment}\n_system_of_b_: end\nkeys: 3  # [> 1] is no knob\n")
    if isinstance(limit, str):
        assert refusal(limits, folder) == f"{path.parent}/{limit}"
    else:
        assert limits(folder) == (rate | {"steps": limit} if limit else rate)


def test_a_folder_with_the_name_of_a_configuration_has_no_limits(folder: Path) -> None:
    (folder / "configs" / "old.yaml").mkdir()
    assert limits(folder) == {"rate": Limit(positive=True, share=True)}


def test_a_knob_has_one_limit_in_all_files(folder: Path) -> None:
    path = folder / "configs" / "b.yaml"
    path.write_text("_free_: of an overlay\nrate: 3  # [> 0]\n")
    assert refusal(limits, folder) == f"{path}:2: rate: has another limit in another file; declare it once"


@each_bundle
def test_headings_are_known_and_every_bundle_has_them(bundle: Path) -> None:
    for name in ("train", "inference"):
        config = yaml.safe_load((bundle / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
        headings = [key for key in config if key.startswith("_")]
        assert headings[-1] == "_system_" and set(headings[:-1]) <= set(GROUPS)
        assert all(isinstance(config[heading], str) for heading in headings)


def test_a_knob_of_two_lines_is_recorded_compared_and_taken_along(
    heartseg: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Declared once and used once, in a copy of a bundle: nothing else knows of it."""
    bundle = tmp_path / "copied"
    shutil.copytree(BUNDLES[0], bundle, ignore=shutil.ignore_patterns("models", "runs"))
    test = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["test"]
    for name in ("train", "inference"):
        path = bundle / "configs" / f"{name}.yaml"
        text = path.read_text(encoding="utf-8")
        own = "[> 0] of the intensities" if name == "inference" else ""
        value = "1.5" if name == "inference" else '"%configs/inference.yaml::brightness"'
        text = re.sub(r"^classes: ", f"brightness: {value}  # {own}\nclasses: ", text, count=1, flags=re.MULTILINE)
        path.write_text(text.replace("normalisation:\n", "brighter: '$2 * @brightness'\nnormalisation:\n", 1))
    data = write_phantoms(tmp_path / "data", kind=test["phantom"], cases=4, seed=1, size="small")
    small = [word for setting in (*test["small"], "epochs=1") for word in ("--set", setting)]
    words = ["train", bundle, "--data", data, "--overlay", "quick", *small, "--out", tmp_path / "run"]

    status, _, err = heartseg(*words, "--set", "brightness=0")
    assert (status, err.splitlines()[-1]) == (
        2,
        "heartseg: --set brightness: 0 is not a positive number, as in brightness=1.5",
    )
    assert heartseg(*words, "--set", "brightness=1.25")[0] == 0
    summary = json.loads((tmp_path / "run" / "run_summary.json").read_text(encoding="utf-8"))
    assert summary["settings"]["brightness"] == 1.25
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert saved["settings"]["fixed"]["brightness"] == 1.25
    status, _, err = heartseg(*words, "--set", "epochs=2")
    assert status == 2 and "brightness was 1.25, is 1.5 now; " in err
    assert settings_of_run(tmp_path / "run")["brightness"] == 1.25
    taken = compose(bundle, ["configs/inference.yaml"], settings_of_run(tmp_path / "run"))
    assert taken.get_parsed_content("brightness") == 1.25


def test_recorded_groups_are_all_that_a_run_compares() -> None:
    assert set(RECORDED) == set(GROUPS) - {"_paths_", "_evaluation_"}
