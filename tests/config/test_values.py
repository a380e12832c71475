"""Values of --set and --run: parsed as YAML, checked for kind and limits, paths, and the settings of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from heartseg.cli.options import read_settings
from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose, parse_settings, settings_of_run
from heartseg.config.values import Limit, check_device
from heartseg.errors import InputError


@pytest.mark.parametrize(
    ("setting", "parsed"),
    [
        ("epochs=2", {"epochs": 2}),
        ("spacing=[2, 2.5, 3]", {"spacing": [2, 2.5, 3]}),
        ("learning_rate=1e-4", {"learning_rate": 0.0001}),
        ("learning_rate=-1.5E+3", {"learning_rate": -1500.0}),
        ("rates=[1e-4, {a: .5e1}]", {"rates": [0.0001, {"a": 5.0}]}),
        ("name='1e-4'", {"name": "1e-4"}),  # quoted is text
        ("amp=false", {"amp": False}),
        ("inputs=null", {"inputs": None}),
        ("inputs=", {"inputs": None}),
        ("anatomy=ASR", {"anatomy": "ASR"}),
        ("folder=2026-01-31", {"folder": "2026-01-31"}),  # not a date
        ("text=a=b", {"text": "a=b"}),
        ("network=@network_def", {"network": "@network_def"}),
        ("network=%configs/a.yaml::b", {"network": "%configs/a.yaml::b"}),
        ("network_def#channels=[8]", {"network_def::channels": [8]}),
        (" epochs =2", {"epochs": 2}),
    ],
)
def test_settings_are_yaml_values(setting: str, parsed: dict) -> None:
    found = parse_settings([setting])
    assert found == parsed
    assert [type(value) for value in found.values()] == [type(value) for value in parsed.values()]


def test_the_last_of_two_settings_counts() -> None:
    assert parse_settings(["a=1", "b=2", "a=3"]) == {"a": 3, "b": 2}


@pytest.mark.parametrize("setting", ["epochs", "=3", " =3", "spacing=[1, 2", "name='abc", "a={b: 1"])
def test_malformed_settings_are_refused(setting: str) -> None:
    with pytest.raises(InputError) as info:
        parse_settings([setting])
    assert str(info.value).startswith(f"--set {setting}: is not ") and "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", "abc", "a number"),
        ("epochs", 0, "a positive number"),
        ("epochs", 1.5, "a whole number"),
        ("epochs", True, "a number"),
        ("batch_size", -1, "a positive number"),
        ("amp", 1, "true or false"),
        ("spacing", [2, 2], "a list of 3 positive numbers"),
        ("spacing", [2, 2, 0], "a list of 3 positive numbers"),
        ("roi_size", 64, "a list of 3 positive whole numbers"),
        ("patience", 0, "a positive number"),
        ("overlap", 1.5, "a share from 0 to 1"),
        ("affine_probability", 1.5, "a share from 0 to 1"),
        ("spacing", None, "a list"),
        ("epochs", None, "a number"),
        ("learning_rate", "1e-3", r"a number to YAML \(write 0.001\)"),  # as YAML reads it in a file
        ("noise", float("nan"), "a finite number"),
        ("spacing", [float("inf"), 2, 2], "a list of 3 positive numbers"),
        ("roi_size", [32.5, 32, 32], "a list of 3 positive whole numbers"),
        ("classes", {"foo:1": None}, "a mapping of names to whole numbers"),  # {foo:1}, without a space
        ("classes", {"foo": "1"}, "a mapping of names to whole numbers"),
        ("classes", {"foo": 1.5}, "a mapping of names to whole numbers"),
        ("classes", {1: 1}, "a mapping of names to whole numbers"),
        ("classes", {}, "a mapping of names to whole numbers"),
        ("classes", ["foo"], "a mapping of names to whole numbers"),
        ("classes", None, "a mapping of names to whole numbers"),
        ("loss", 5, "a mapping"),
        ("max_minutes", "abc", "a number of minutes"),
        ("max_minutes", -1, "a number of minutes"),
        ("max_minutes", float("nan"), "a number of minutes"),
        ("split_file", 5, "text"),
        ("initial_weights", 5, "text"),
        ("output_dir", None, "text"),
        ("dataset_dir", 5, "text"),
        ("device", None, "text"),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: object, wanted: str) -> None:
    bundle = find_bundle("left_atrium")
    with pytest.raises(InputError, match=f"--set {name}: .* is not {wanted}"):
        compose(bundle, config_files(bundle, "train"), {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("warmup_steps", 0),
        ("classes", {"one": 1, "two": 2}),
        ("learning_rate", 1),
        ("spacing", [2, 2, 2.5]),
        ("max_minutes", 3),
        ("epochs", "$1 + 1"),
    ],
)
def test_a_value_of_the_same_kind_is_taken(name: str, value: object) -> None:
    bundle = find_bundle("left_atrium")
    assert compose(bundle, config_files(bundle, "train"), {name: value})[name] == value


def test_paths_mean_what_they_mean_in_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings(["split_file=split.json", "dataset_dir=$'/a'", "epochs=2"])
    assert settings == {"split_file": str(tmp_path / "split.json"), "dataset_dir": "$'/a'", "epochs": 2}


def test_a_run_brings_what_its_weights_need(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "_split_: heading\nseed: 1\n_weights_: heading\nspacing: [2.5, 2.5, 2.5]\nanatomy: header\n"
        "_free_: heading\nepochs: 3\n"
    )
    assert settings_of_run(tmp_path) == {"spacing": [2.5, 2.5, 2.5], "anatomy": "header"}
    # what the person says counts more
    assert read_settings(["anatomy=auto"], tmp_path) == {"spacing": [2.5, 2.5, 2.5], "anatomy": "auto"}
    assert settings_of_run(tmp_path / "gone") == {}
    (tmp_path / "config.yaml").write_text("seed: 1\nspacing: [2.5, 2.5, 2.5]\n")
    with pytest.raises(InputError, match="config.yaml: has no headings of knobs, which say what its weights need; "):
        settings_of_run(tmp_path)


def test_a_run_brings_what_its_cases_were_split_by_where_a_part_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "_weights_: heading\nspacing: [2.5, 2.5]\n"
        "_split_: heading\nfold: 1\nvalidation_share: 0.5\nfolds: $round(1 / @validation_share)\n"
        "seed: 7\nsplit_file: null\n_system_: heading\nepochs: 3\n"
    )
    split = {"fold": 1, "folds": "$round(1 / @validation_share)", "validation_share": 0.5, "seed": 7}
    split["split_file"] = None
    assert settings_of_run(tmp_path) == read_settings(None, tmp_path) == {"spacing": [2.5, 2.5]}
    assert settings_of_run(tmp_path, split=True) == {"spacing": [2.5, 2.5], **split}
    assert read_settings(["fold=0"], tmp_path, split=True) == {"spacing": [2.5, 2.5], **split, "fold": 0}


def test_a_device_that_is_not_there_is_refused() -> None:
    device = f"cuda:{torch.cuda.device_count()}"  # one more than there are
    with pytest.raises(InputError, match=rf"^device: {device} cannot be used here \(.+\); use cpu, or leave it out$"):
        check_device(device)
    for unknown in ("gpu", 1.5):
        with pytest.raises(InputError, match=f"^device: {unknown} cannot be used here"):
            check_device(unknown)
    check_device("cpu")
    check_device(torch.device("cpu"))


@pytest.mark.parametrize(
    ("text", "limit"),
    [("> 0", Limit(positive=True)), ("0, 1", Limit(share=True)), ("> 0 or 0, 1 or null", Limit(True, True, True))],
)
def test_limits_of_comments(text: str, limit: Limit) -> None:
    assert Limit.parse(text, "a.yaml: epochs") == limit


def test_a_limit_that_cannot_be_read_is_refused() -> None:
    wanted = r"^a.yaml: epochs: \[>=0\] is not a limit; write \[> 0\], \[0, 1\] or \[null\]$"
    with pytest.raises(InputError, match=wanted):
        Limit.parse(">= 0", "a.yaml: epochs")


def test_whole_configurations_are_no_overlays() -> None:
    for name in ("train", "pose"):
        with pytest.raises(InputError, match=f"overlay {name}"):
            config_files(find_bundle("left_atrium"), "inference", [name])
