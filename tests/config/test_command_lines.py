"""The line that is printed does the same when it is pasted into a shell."""

import shlex
import subprocess
import sys
from pathlib import Path

import fire
import monai.bundle
import pytest

from heartseg.config.bundle_runs import run
from heartseg.config.bundles import config_files
from heartseg.config.command_lines import command_line, say_command
from heartseg.config.composition import fold_settings

ATRIUM = Path(__file__).resolve().parents[2] / "bundles" / "left_atrium"


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


def test_the_printed_line_holds_what_an_open_mapping_was_given(tiny):
    files = ["configs/inference.yaml"]
    own = fold_settings(tiny, files, {"open::a::b": 1.5, "open::a::c": "it's", "answers": "$@open"})
    assert pasted(command_line("run", files, own), tiny) == repr({"a": {"b": 1.5, "c": "it's"}})
