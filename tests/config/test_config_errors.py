"""Errors in a configuration are reported with file and line; other errors pass unchanged."""

import pytest
from monai.bundle import ConfigParser

from heartseg.config.composition import check_files
from heartseg.config.config_errors import TracingResolver, fault_of, readable
from heartseg.config.yaml_files import read_yaml
from heartseg.errors import InputError

BASE = """# a comment
number: 1
names:
- 5
- "$@number + 1"
part:
  _target_: statistics.mean
  data: "@names"
"""


def raised(folder, text, ask, overlay=None):
    """Return the message of the error that resolving an id ends in."""
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / "base.yaml").write_text(text)
    files = ["configs/base.yaml"]
    if overlay is not None:
        (folder / "configs" / "over.yaml").write_text(overlay)
        files.append("configs/over.yaml")
    parser = ConfigParser()
    parser.read_config([folder / file for file in files])
    parser.ref_resolver = TracingResolver(parser, folder, files)
    with pytest.raises(Exception) as info:  # noqa: B017, PT011 - whatever MONAI raises
        parser.get_parsed_content(ask)
    fault = fault_of(info.value, folder, files)
    assert fault is None or "\n" not in str(fault)
    return None if fault is None else str(fault).removeprefix(f"{folder / 'configs'}/")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("s.mean", "s.maen", "base.yaml:7: there is no class or function statistics.maen; fix its name"),
        ('"@names"', '"@nmaes"', "base.yaml:8: the id nmaes is not defined; fix its name, or define it"),
        ('"@names"', '"@part"', "base.yaml:8: the id part refers to itself; give it a value"),
        ('"@names"', "3", "base.yaml:7: statistics.mean does not take these arguments ('int' object is not iterable"),
        ("+ 1", "+ one", "base.yaml:5: $@number + one cannot be evaluated (name 'one' is not defined); fix it"),
        ("+ 1", "+", "base.yaml:5: $@number + cannot be evaluated (invalid syntax"),
    ],
)
def test_an_error_is_reported_with_its_line(old, new, message, tmp_path):
    assert raised(tmp_path, BASE.replace(old, new), "part").startswith(message)


def test_the_overlay_that_brought_it_is_named(tmp_path):
    assert raised(tmp_path, BASE, "part", "names: '@nobody'\n").startswith("over.yaml:1: the id nobody is not")


def test_of_two_components_of_one_name_that_with_the_arguments_is_named(tmp_path):
    text = "one:\n  _target_: statistics.mean\nother:\n  _target_: statistics.mean\n  data: 3\n"
    assert raised(tmp_path, text, "other").startswith("base.yaml:4: statistics.mean does not take")


def test_an_error_deep_in_what_runs_is_no_fault_of_the_yaml(tmp_path):
    assert raised(tmp_path, "broken: $__import__('json').loads('{')\n", "broken") is None
    assert raised(tmp_path, "full:\n  _target_: os.listdir\n  path: /nowhere\n", "full") is None
    assert fault_of(RuntimeError("CUDA out of memory"), tmp_path, []) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", ":2: broken YAML: "),
        ("a: 1\n\tb: 2\n", ":2: broken YAML: "),
        ("text", ":1: holds a str, not ids and values; write ID: VALUE"),
        ("", ":1: holds nothing, not ids and values; write ID: VALUE"),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused_with_its_line(text, message, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as info:
        read_yaml(path)
    assert str(info.value).startswith(f"{path}{message}")
    path.write_text("a: 1\n")
    assert read_yaml(path) == {"a": 1}


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("a.yaml", "b.yaml"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read \(.*\); fix it"):
            read_yaml(tmp_path / name)


def test_an_overlay_may_not_change_what_kind_a_value_is(tmp_path):
    (tmp_path / "base.yaml").write_text("epochs: 3\nsize: [1, 2]\nfree: null\n")
    (tmp_path / "over.yaml").write_text("free: text\n\nepochs: many\n")
    with pytest.raises(InputError) as info:
        check_files(tmp_path, ["base.yaml", "over.yaml"])
    fault = "epochs: 'many' is not a number, as in epochs=3; fix this line"
    assert str(info.value) == f"{tmp_path / 'over.yaml'}:3: {fault}"
    (tmp_path / "over.yaml").write_text("free: text\nepochs: 4\nsize: $[1, 2]\nmore: 1\n")
    check_files(tmp_path, ["base.yaml", "over.yaml"])


@pytest.mark.parametrize(
    ("overlay", "fault"),
    [
        ("1: 2\n", "1: 1 is not an id; write a name before the colon"),
        ("a: 1\ntrue: 2\n", "2: True is not an id; write a name before the colon"),
        (
            "train:\n  trainer:\n    max_epochs: 1\n",
            "1: train would lose loss; to change one part write its whole id, as in train::trainer::max_epochs: ...",
        ),
        ("size: 1\nepoch: 3\n", "2: epoch is not an id of the configuration; did you mean epochs?"),
    ],
)
def test_unintended_overlays_are_refused(overlay, fault, tmp_path):
    base = "epochs: 3\nsize: 2\ntrain:\n  trainer: {_target_: dict, epochs: '@epochs'}\n  loss: {_target_: list}\n"
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "over.yaml").write_text(overlay)
    with pytest.raises(InputError) as info:
        check_files(tmp_path, ["base.yaml", "over.yaml"])
    assert str(info.value) == f"{tmp_path / 'over.yaml'}:{fault}"


def test_an_overlay_may_add_what_it_asks_for_and_replace_a_whole_section(tmp_path):
    (tmp_path / "base.yaml").write_text("epochs: 3\nloss: {_target_: dict, a: 1}\nclasses: {a: 1}\n")
    (tmp_path / "over.yaml").write_text("epoch: 2\nepochs: '@epoch'\nloss: {_target_: list}\nclasses: {b: 1}\n")
    check_files(tmp_path, ["base.yaml", "over.yaml"])


def test_readable_raises_the_error_for_people():
    bottom = InputError("scan: broken; fix it")
    with pytest.raises(InputError) as info, readable():
        raise RuntimeError("applying transform") from bottom
    assert info.value is bottom


def test_readable_leaves_other_errors_and_results_alone():
    with pytest.raises(KeyError), readable():
        raise KeyError("x")
    with readable():
        found = 1
    assert found == 1
