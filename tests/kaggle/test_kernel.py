"""The bootstrap: a damaged archive, what counts as installed, and pip with tiny wheels in a separate environment."""

import base64
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from heartseg.kaggle import kernel
from heartseg.kaggle.kernel import fits, lacking, main, name_of, unpack

SOURCE = Path(kernel.__file__).parent


@pytest.mark.parametrize(
    ("version", "requirement", "expected"),
    [
        ("1.6.1", "monai>=1.6,<1.7", True),
        ("1.6", "monai>=1.6.0", True),
        ("1.10.0", "monai>=1.9", True),  # numbers, not letters
        ("1.7.0", "monai>=1.6,<1.7", False),
        ("2.8.0a0+nv25.6", "torch>=2.8", True),
        ("2.7.1+cu126", "torch>=2.8", False),
        ("1.0", "a==1.0.0", True),
        ("1.0", "a!=1", False),
        ("1.0", "a > 1", False),
        ("anything", "six", True),
    ],
)
def test_fits(version, requirement, expected):
    assert fits(version, requirement) is expected


def test_names_are_compared_as_the_index_does():
    assert name_of("PyYAML>=6.0") == "pyyaml"
    assert name_of("ruamel.yaml") == name_of("Ruamel_YAML ==1") == "ruamel-yaml"
    have = {"pyyaml": "6.0.3", "monai": "1.5"}
    assert lacking(["pyyaml>=6.0", "monai>=1.6,<1.7", "Six"], have) == {"monai": "monai>=1.6,<1.7", "six": "Six"}


def packed(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return base64.b85encode(buffer.getvalue()).decode(), hashlib.sha256(buffer.getvalue()).hexdigest()


def test_unpack(tmp_path):
    coded, checksum = packed(a="one")
    unpack(coded, checksum, tmp_path)
    assert (tmp_path / "a").read_text() == "one"


@pytest.mark.parametrize("damage", [lambda text: text[:-5], lambda text: "0" + text[1:], lambda text: '"' + text])
def test_a_damaged_script_ends_with_one_line(damage, tmp_path, capsys, monkeypatch):
    coded, checksum = packed(a="one")
    monkeypatch.setenv(kernel.ROOT_VARIABLE, str(tmp_path))
    (tmp_path / "working").mkdir()
    (tmp_path / "working" / "manifest.json").touch()  # of an earlier run
    path = sys.path[:]
    assert main({"sha256": checksum}, damage(coded)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("heartseg: this script is damaged: ") and err.count("\n") == 1
    assert list(tmp_path.rglob("*")) == [tmp_path / "working"] and sys.path == path


def test_another_python_is_reported(tmp_path, capsys, monkeypatch):
    coded, checksum = packed(a="one")
    monkeypatch.setenv(kernel.ROOT_VARIABLE, str(tmp_path))
    assert main({"sha256": checksum, "python": ">=4.0"}, coded) == 2
    assert "and heartseg needs >=4.0; choose another image" in capsys.readouterr().err


# pip


def wheel(folder: Path, name: str, version: str, needs: str | None = None) -> Path:
    """Write a wheel of one module with its version."""
    folder.mkdir(parents=True, exist_ok=True)
    path, about = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{about}/METADATA", metadata)
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The Python of an environment with pip and the platform's torch."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    python = folder / "bin" / "python"
    torch = wheel(folder / "wheels", "torch", "2.9.0+cu126")
    call = [python, "-m", "pip", "install", "--no-index", "--quiet", torch]
    subprocess.run(call, check=True, capture_output=True)
    return python


@pytest.fixture
def install(environment, tmp_path, monkeypatch):
    """Call `kernel.install` in that environment, without heartseg: (what is installed afterwards, output)."""
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def call(requirements, pins=(), internet=False):
        words = json.dumps([list(requirements), list(pins), internet, str(tmp_path / "input")])
        script = (
            f"import json, sys; sys.path.insert(0, {str(SOURCE)!r}); import kernel; from pathlib import Path\n"
            f"r, p, i, inputs = json.loads({words!r})\n"
            "try:\n    kernel.install(r, p, i, Path(inputs))\n"
            "except kernel.KernelError as error:\n    print('refused:', error)\n"
            "print(json.dumps(kernel.installed()))"
        )
        ended = subprocess.run([environment, "-c", script], capture_output=True, text=True, check=True)
        *said, have = ended.stdout.splitlines()
        return json.loads(have), said

    return call


def test_pip_installs_what_is_missing_from_wheels_and_nothing_else(install, tmp_path):
    wheels = tmp_path / "input" / "datasets" / "alice" / "wheels" / "deep"
    for version in ("1.0", "2.0"):
        wheel(wheels, "tiny", version, needs="inner" if version == "1.0" else None)
        wheel(wheels, "inner", version)
    wheel(wheels, "torch", "3.0")
    have, said = install(["torch>=2.8", "tiny>=1"], ["tiny==1.0", "inner==1.0", "torch==3.0"])
    assert said == ["heartseg: installs tiny>=1"]
    assert (have["tiny"], have["inner"], have["torch"]) == ("1.0", "1.0", "2.9.0+cu126")  # the tested ones, not 2.0
    assert install(["torch>=2.8", "tiny>=1"]) == (have, [])  # a version that fits is left alone
    # One that does not fit is replaced, and the others stay, even if there are newer ones.
    have, said = install(["tiny>=2"])
    assert (have["tiny"], have["inner"]) == ("2.0", "1.0")
    assert said == ["heartseg: installs tiny>=2", "heartseg: replaced tiny 1.0 by 2.0"]


def test_what_heartseg_does_not_use_is_replaced_where_pip_cannot_do_without(install, tmp_path):
    wheels = tmp_path / "input" / "wheels"
    for version in ("1.0", "2.0"):
        wheel(wheels, "beside", version)
        wheel(wheels, "used", version)
    install(["beside==1.0", "used==1.0"])
    wheel(wheels, "newer", "1.0", needs="beside>=2")
    have, said = install(["torch>=2.8", "used>=1", "newer"])
    assert (have["newer"], have["beside"], have["used"], have["torch"]) == ("1.0", "2.0", "1.0", "2.9.0+cu126")
    assert said[0] == "heartseg: installs newer" and said[-1] == "heartseg: replaced beside 1.0 by 2.0"
    wheel(wheels, "newest", "1.0", needs="used>=2")
    have, said = install(["torch>=2.8", "used>=1", "newest"])
    assert have["used"] == "1.0" and "newest" not in have
    assert said[-1].startswith("refused: pip cannot install what is missing: Cannot install newest")


def test_torch_is_never_replaced(install, tmp_path):
    wheels = tmp_path / "input" / "wheels"
    wheel(wheels, "torch", "3.0")
    wheel(wheels, "greedy", "1.0", needs="torch>=3")
    have, said = install(["torch>=3"])
    assert said == [
        "refused: this platform has torch 2.9.0+cu126, and heartseg needs torch>=3; "
        "choose another image for the kernel: its torch is never replaced"
    ]
    have, said = install(["greedy>=1"])
    assert have["torch"] == "2.9.0+cu126" and "greedy" not in have
    assert said[-1].startswith("refused: pip cannot install what is missing: Cannot install greedy")


def test_without_internet_and_wheels_one_line_says_what_is_missing(install):
    have, said = install(["torch>=2.8", "absent>=1", "gone"])
    assert len(said) == 1 and said[0].startswith("refused: absent>=1, gone: missing, and the internet is off; ")
    assert "absent" not in have


def test_a_working_folder_that_is_a_file(tmp_path, capsys, monkeypatch):
    (tmp_path / "working").write_text("a file")
    monkeypatch.setenv("HEARTSEG_KAGGLE_ROOT", str(tmp_path))
    assert main({}, "") == 2
    said = "cannot be written (Not a directory); fix that"
    assert capsys.readouterr().err == f"heartseg: {tmp_path / 'working'}: {said}\n"
