"""Bundles and their configurations are found."""

from pathlib import Path

from refusals import refusal

from heartseg.config.bundles import bundle_names, config_files, find_bundle

ATRIUM = Path(__file__).resolve().parents[2] / "bundles" / "left_atrium"


def test_a_bundle_is_found_by_name_and_by_path(tiny, monkeypatch):
    assert "left_atrium" in bundle_names()
    assert find_bundle("left_atrium") == ATRIUM
    assert find_bundle(ATRIUM) == ATRIUM
    assert find_bundle(tiny) == tiny
    monkeypatch.chdir(tiny.parent)
    assert find_bundle(tiny.name) == tiny  # a relative path comes back absolute


def test_an_unknown_bundle_is_refused_with_the_nearest_name():
    assert refusal(find_bundle, "left_atrum") == "left_atrum: no such bundle; did you mean left_atrium?"
    assert refusal(find_bundle, "xyz").startswith("xyz: no such bundle; there are: ")


def test_a_folder_without_inference_configuration_is_not_a_bundle(tmp_path):
    (tmp_path / "configs").mkdir()
    wanted = f"{tmp_path}: is not a bundle; give the folder that holds configs/inference.yaml"
    assert refusal(find_bundle, tmp_path) == wanted


def test_configurations_are_listed_base_first(tiny):
    assert config_files(tiny, "inference") == ["configs/inference.yaml"]
    assert config_files(tiny, "inference", ["second", "first"]) == [
        "configs/inference.yaml",
        "configs/second.yaml",
        "configs/first.yaml",
    ]


def test_an_unknown_overlay_is_refused_with_the_nearest_name(tiny):
    assert refusal(config_files, tiny, "inference", ["frist"]).endswith("did you mean first?")
    assert refusal(config_files, tiny, "inference", ["xyz"]).endswith("there are: first, second")
    assert "quick" in refusal(config_files, ATRIUM, "train", ["quik"])
