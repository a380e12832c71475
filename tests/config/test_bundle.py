"""Bundles are found, configurations compose, and the line that is printed does the same when it is pasted."""

import shlex
import subprocess
import sys
from pathlib import Path

import fire
import monai.bundle
import pytest

from heartseg.config.bundle import (
    bundle_names,
    command_line,
    compose,
    config_files,
    find_bundle,
    fold_settings,
    readable,
    run,
    say_command,
)
from heartseg.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
ATRIUM = ROOT / "bundles" / "left_atrium"

TINY = """
imports: [$import pathlib]
knob: 1
open: {}
nested: {inner: 2}
copied: "%configs/inference.yaml::nested"
double: "$2 * @knob"
answers: []
run: ["$pathlib.Path('answers.txt').write_text(repr(@answers))"]
"""


@pytest.fixture
def tiny(tmp_path):
    """A bundle of one small configuration, in a folder whose name a shell has to be told with care."""
    folder = tmp_path / "it's a bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text(TINY)
    (folder / "configs" / "first.yaml").write_text("knob: 10\nnested: {inner: 10}\n")
    (folder / "configs" / "second.yaml").write_text("knob: 20\n")
    return folder


def refusal(function, *args):
    with pytest.raises(InputError) as info:
        function(*args)
    assert "\n" not in str(info.value)
    return str(info.value)


# Where bundles are


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


def test_a_folder_without_inference_configuration_is_no_bundle(tmp_path):
    (tmp_path / "configs").mkdir()
    assert str(tmp_path) in refusal(find_bundle, tmp_path)


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


# Composition


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


def test_the_printed_line_holds_what_an_open_mapping_was_given(tiny):
    files = ["configs/inference.yaml"]
    own = fold_settings(tiny, files, {"open::a::b": 1.5, "open::a::c": "it's", "answers": "$@open"})
    assert pasted(command_line("run", files, own), tiny) == repr({"a": {"b": 1.5, "c": "it's"}})


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
    """spacing stands in inference.yaml; in train.yaml a macro brings it, and the transforms with it."""
    parser = compose(ATRIUM, [f"configs/{base}.yaml"], {"spacing": [2, 3, 4], "roi_size": [32, 32, 48]})
    resample = value(parser, "preprocessing").flatten().transforms[3]
    assert list(resample.spacing_transform.pixdim) == [2, 3, 4]
    assert value(parser, "inferer").roi_size == (32, 32, 48)


# The command line


def pasted(line, folder):
    """Run a line in this process as `python -m monai.bundle` would: Fire reads it, MONAI runs it."""
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "monai.bundle", "run"]
    (folder / "answers.txt").unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fire.Fire({"run": monai.bundle.run}, command=words[3:])
    return (folder / "answers.txt").read_text()


VALUES = [
    *(0, 3, -2, 1.5, -0.5, 1e-05, True, False, None, float("inf")),
    *("word", "two words", "it's", 'say "no"', "a,b", "", "-", "--", "-x", "--overwrite", "=", "a=b", "(1", "[x"),
    *("12", "1.5", "1e-4", "0x10", "True", "None", "null", "'quoted'", "[a, b]", "{a: b}", "1-2", "2026-01-31"),
    *("/data/my scans/la.nii.gz", "/data/1,2", "$'cost: 5 $'", "back\\slash", "`ls`", "bang!", "~", "*", "a;b&c|d>e"),
    *(["/data/my scans/la.nii.gz", "/data/it's.nii.gz"], ["one"], [2, 2, 2], [1, None, "None", True, "x y"], []),
    *({"a": 1, "b": [1.5, "1.5"]}, {}),
]


@pytest.mark.parametrize("answer", VALUES, ids=repr)
def test_the_printed_line_gives_the_same_value(tiny, answer):
    line = command_line("run", ["configs/inference.yaml"], {"answers": answer})
    expected = "cost: 5 $" if answer == "$'cost: 5 $'" else answer
    assert pasted(line, tiny) == repr(expected)


def test_the_printed_line_names_overlays_and_nested_ids(tiny):
    files = config_files(tiny, "inference", ["first", "second"])
    line = command_line("run", files, {"nested::inner": 5, "answers": "$[@knob, @nested::inner]"})
    assert "--config_file \"['configs/inference.yaml','configs/first.yaml','configs/second.yaml']\"" in line
    assert pasted(line, tiny) == "[20, 5]"


def test_running_here_does_what_the_line_does(tiny):
    values = {"answers": ["/a b", None, "12", 0.5], "knob": "$1 + 1"}
    (tiny / "configs" / "metadata.json").write_text("{}")
    (tiny / "configs" / "logging.conf").write_bytes((ATRIUM / "configs" / "logging.conf").read_bytes())
    run(tiny, "run", ["configs/inference.yaml"], values)
    here = (tiny / "answers.txt").read_text()
    assert here == pasted(command_line("run", ["configs/inference.yaml"], values), tiny) == "['/a b', None, '12', 0.5]"


def test_the_line_works_in_a_shell(tiny, capsys):
    """As it is printed, with `python` being this one: folders with spaces and quotes, and every value."""
    if sys.platform == "win32":
        pytest.skip("the line is for a POSIX shell")
    answers = [answer for answer in VALUES if answer not in ("$'cost: 5 $'", float("inf"))]
    names = {f"answer_{number}": answer for number, answer in enumerate(answers)}
    with (tiny / "configs" / "inference.yaml").open("a") as file:
        file.writelines(f"{name}: 0\n" for name in names)
    own = {**names, "answers": "$[" + ", ".join(f"@{name}" for name in names) + "]"}
    say_command(tiny, "run", ["configs/inference.yaml"], own)
    line = capsys.readouterr().err.strip()
    script = f'python() {{ "{sys.executable}" -W ignore "$@"; }}\n{line}\n'
    ended = subprocess.run(["sh", "-c", script], cwd="/", capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert (tiny / "answers.txt").read_text() == repr(answers)


# Errors


def test_readable_raises_the_error_for_people():
    bottom = InputError("scan: broken; mend it")
    with pytest.raises(InputError) as info, readable():
        raise RuntimeError("applying transform") from bottom
    assert info.value is bottom


def test_readable_leaves_other_errors_and_results_alone():
    with pytest.raises(KeyError), readable():
        raise KeyError("x")
    with readable():
        found = 1
    assert found == 1
