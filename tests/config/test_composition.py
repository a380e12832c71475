"""Configurations compose: overlays in order, settings last, and what cannot be meant is refused."""

from pathlib import Path

import pytest
from refusals import refusal

from heartseg.config.bundles import config_files
from heartseg.config.composition import compose, fold_settings

ATRIUM = Path(__file__).resolve().parents[2] / "bundles" / "left_atrium"


def value(parser, name):
    return parser.get_parsed_content(name)


def test_overlays_count_in_order_and_settings_last(tiny):
    files = config_files(tiny, "inference", ["first", "second"])
    assert value(compose(tiny, files, {}), "double") == 40
    assert value(compose(tiny, files[:1] + files[:0:-1], {}), "double") == 20
    assert value(compose(tiny, files, {"knob": 3}), "double") == 6
    assert value(compose(tiny, files, {"knob": 3}, {"knob": 4}), "double") == 6  # a person's word over the command's


def test_an_overlay_reaches_what_is_copied_by_macro_only_through_its_own_id(tiny):
    """Macros read the other file as it is; this is why whatever may change is a knob."""
    files = config_files(tiny, "inference", ["first"])
    assert value(compose(tiny, files, {}), "nested") == {"inner": 10}
    assert value(compose(tiny, files, {}), "copied") == {"inner": 2}


def test_a_nested_id_can_be_set(tiny):
    assert value(compose(tiny, ["configs/inference.yaml"], {"nested::inner": 7}), "nested") == {"inner": 7}


def test_unknown_ids_are_refused_with_the_nearest(tiny):
    files = ["configs/inference.yaml"]
    assert refusal(compose, tiny, files, {"konb": 1}) == (
        "--set konb: the configuration has no such id; did you mean knob?"
    )
    assert "did you mean nested::inner?" in refusal(compose, tiny, files, {"inner": 1})
    assert "no such id" in refusal(compose, tiny, files, {"copied::inner": 1})  # the inside of a macro
    assert "no such id" in refusal(compose, tiny, files, {"zzzzzz": 1})


def test_an_empty_mapping_is_open(tiny):
    files = ["configs/inference.yaml"]
    settings = {"open::a::b": 1, "knob": 3, "open::a::c": [2], "open::d": None}
    folded = {"open": {"a": {"b": 1, "c": [2]}, "d": None}, "knob": 3}
    assert fold_settings(tiny, files, settings) == folded
    parser = compose(tiny, files, settings)
    assert value(parser, "open") == folded["open"] and value(parser, "double") == 6
    assert settings["open::a::b"] == 1  # as they were given
    assert fold_settings(tiny, files, {"open": {"a": {"b": 1}}, "open::a::c": 2}) == {"open": {"a": {"b": 1, "c": 2}}}
    assert fold_settings(tiny, files, {"nested::inner": 7}) == {"nested::inner": 7}
    # A filled mapping holds what it holds, and a slip in its own name is a slip.
    assert "no such id" in refusal(compose, tiny, files, {"nested::a": 1})
    assert "no such id" in refusal(compose, tiny, files, {"opne::a": 1})


def test_macros_and_paths_are_resolved_in_the_bundle_and_the_folder_is_kept(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    compose(tiny, ["configs/inference.yaml"], {})
    assert Path.cwd() == tiny.parent
    refusal(compose, tiny, ["configs/inference.yaml"], {"konb": 1})
    assert Path.cwd() == tiny.parent


def test_broken_yaml_names_file_and_line(tiny):
    (tiny / "configs" / "broken.yaml").write_text("knob: 1\nlist: [1, 2\nother: 3\n")
    said = refusal(compose, tiny, ["configs/inference.yaml", "configs/broken.yaml"], {})
    assert said.startswith(f"{tiny / 'configs' / 'broken.yaml'}:3: broken YAML: ")


def test_an_id_that_is_twice_in_a_file_is_refused(tiny):
    path = tiny / "configs" / "twice.yaml"
    path.write_text("knob: 1\nnested: {inner: 1}\nknob: 3\n")
    said = refusal(compose, tiny, ["configs/inference.yaml", "configs/twice.yaml"], {})
    assert said == f"{path}:3: knob is in this file already ({path}:1); remove one"


def test_a_heading_of_an_earlier_file_is_refused(tiny):
    """Merged, its knobs would follow the last heading of the file before it, and belong to no group."""
    path = tiny / "configs" / "inference.yaml"
    path.write_text(path.read_text().replace("knob:", "_free_: free\nknob:").replace("open:", "_system_: end\nopen:"))
    overlay = tiny / "configs" / "more.yaml"
    overlay.write_text("_free_: more\ndropout: 0.1\n")
    said = refusal(compose, tiny, ["configs/inference.yaml", "configs/more.yaml"], {})
    assert said == f"{overlay}:1: _free_ is a heading of an earlier file; declare its knobs there"
    overlay.write_text("_schedule_: more\nepochs: 1\n_system_of_more_: end\n")
    assert value(compose(tiny, ["configs/inference.yaml", "configs/more.yaml"], {}), "epochs") == 1


@pytest.mark.parametrize("name", ["_free_", "_system_", "imports"])
def test_what_is_not_a_knob_cannot_be_set(name):
    assert refusal(compose, ATRIUM, ["configs/train.yaml"], {name: "foo"}).startswith(f"--set {name}: is not a value")


def test_an_option_that_sets_a_missing_id_is_refused(tiny):
    said = refusal(compose, tiny, ["configs/inference.yaml"], {}, {"download": True})
    assert said == f"{tiny.name}: its YAML has no download, which an option of this command sets"


def test_what_does_not_resolve_is_one_line(tiny):
    (tiny / "configs" / "lost.yaml").write_text('knob: "%configs/missing.yaml::knob"\n')
    assert "does not resolve" in refusal(compose, tiny, ["configs/inference.yaml", "configs/lost.yaml"], {})


def test_paths_that_monai_would_change_are_refused(tiny):
    """MONAI reads # as :: in every text, so a mask would go to another folder than was asked for."""
    files = ["configs/inference.yaml"]
    assert refusal(compose, tiny, files, {}, {"output_dir": "/data/#1"}).startswith("/data/#1: ")
    assert refusal(compose, tiny, files, {"knob": "/data/#1"}).startswith("/data/#1: ")
    assert value(compose(tiny, files, {"knob": "$@nested#inner"}), "double") == 4  # an expression's ids


@pytest.mark.parametrize("base", ["train", "inference"])
def test_knobs_that_come_by_macro_can_be_set(base):
    """spacing is in inference.yaml; in train.yaml a macro brings it, and the transforms with it."""
    parser = compose(ATRIUM, [f"configs/{base}.yaml"], {"spacing": [2, 3, 4], "roi_size": [32, 32, 48]})
    resample = value(parser, "preprocessing").flatten().transforms[3]
    assert list(resample.spacing_transform.pixdim) == [2, 3, 4]
    assert value(parser, "inferer").roi_size == (32, 32, 48)
