"""`--help` lists every command, explains its options, and is fast."""

import pytest


def test_help_lists_every_command(python):
    ended = python("-c", "from heartseg.cli.app import main; main()", "--help")
    assert ended.returncode == 0 and ended.stderr == ""
    for command in ("demo", "train", "segment", "evaluate", "robustness", "compare", "check", "phantom", "data"):
        assert f" {command} " in ended.stdout


def test_help_needs_neither_torch_nor_monai(python):
    """`heartseg --help` is fast."""
    script = "import sys; from heartseg.cli.app import app; print(sorted({'torch', 'monai'} & set(sys.modules)))"
    assert python("-c", script).stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", ["--data", "--out", "--overlay", "--set", "--weights", "--max-minutes", "--download"]),
        ("segment", ["--out", "--overwrite", "--run", "--weights", "--overlay", "--set"]),
        ("evaluate", ["--data", "--out", "--split", "--run", "--weights", "--overlay", "--set"]),
        ("robustness", ["--data", "--out", "--artifact", "--severity", "--split"]),
        ("robustness", ["--run", "--weights", "--overlay", "--set"]),
        ("compare", ["--out", "--metric"]),
        ("check", ["--labels", "--bundle"]),
        ("phantom", ["--kind", "--cases", "--seed", "--size"]),
        ("demo", ["--out"]),
    ],
)
def test_each_command_explains_its_options(command, options, heartseg):
    status, out, _ = heartseg(command, "--help")
    assert status == 0
    assert [option for option in options if option not in out] == []


def test_data_fetch_help(heartseg):
    status, out, _ = heartseg("data", "fetch", "--help")
    assert status == 0 and "task02" in out and "--out" in out
