"""The script that is pushed: reproducible, small, and without unwanted content."""

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from base64 import b85decode
from hashlib import sha256
from pathlib import Path

import pytest

import heartseg
from heartseg.errors import InputError
from heartseg.kaggle import kernel
from heartseg.kaggle.script import LIMIT, kernel_script, session_options

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/train.yaml"))


def taken_apart(text):
    """The header of a script, and the files of its archive."""
    names = {
        node.targets[0].id: node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and node.targets[0].id in ("HEADER", "ARCHIVE")
    }
    header = json.loads(ast.literal_eval(names["HEADER"].args[0]))
    content = b85decode(ast.literal_eval(names["ARCHIVE"]))
    assert sha256(content).hexdigest() == header["sha256"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return header, {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_content(bundle):
    options = session_options(bundle, ["alice/heart"], ["quick"], ["epochs=3"])
    made = kernel_script(bundle, options, internet=False)
    assert made.text.isascii() and len(made.text) < LIMIT
    header, files = taken_apart(made.text)
    assert header["options"] == {
        "data": ["alice/heart"],
        "overlays": ["quick"],
        "settings": {"epochs": 3},
        "minutes": 660,
        "resume": False,
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert header["requirements"][: len(project["dependencies"])] == project["dependencies"]
    assert header["python"] == project["requires-python"] and header["internet"] is False
    assert set((ROOT / "constraints.txt").read_text().splitlines()[1:]) <= set(header["pins"])
    assert (header["bundle"], header["heartseg"], header["commit"]) == (bundle.name, heartseg.__version__, made.commit)
    # Names and sizes are as reported; weights, pictures and caches are not among them.
    assert {name: len(content) for name, content in files.items()} == made.files
    assert list(files) == sorted(files) and made.sha256 == header["sha256"]
    assert {Path(name).suffix for name in files} <= {".py", ".yaml", ".json", ".md", ".conf", ""}
    assert {name.split("/")[1] for name in files if name.startswith("bundles/")} == {bundle.name}
    for name in ("heartseg/kaggle/session.py", f"bundles/{bundle.name}/configs/train.yaml"):
        assert files[name] == (ROOT / name).read_bytes()
    if made.commit is not None:
        assert files["heartseg/COMMIT"].decode() == f"{made.commit}\n"
    assert made.text.endswith(
        f"{Path(kernel.__file__).read_text()}\n\n"
        'if __name__ == "__main__":\n    status = main(HEADER, ARCHIVE)\n    if status:\n        sys.exit(status)\n'
    )


def git(folder, *words, **environment):
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"]
    call = ["git", "-C", folder, *who, *words]
    found = subprocess.run(call, check=True, capture_output=True, env={**os.environ, **environment})
    return found.stdout.decode().strip()


@pytest.fixture(scope="module")
def commit(tmp_path_factory):
    """A repository of one commit, with copies of the files that a script contains."""
    folder = tmp_path_factory.mktemp("origin")
    ignore = shutil.ignore_patterns("__pycache__", "*.pt", "runs", "eval", "masks", "robust", "*.png")
    for name in ("heartseg", "bundles"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "constraints.txt", "kernel-metadata.json", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all", GIT_COMMITTER_DATE="2026-01-01T00:00:00Z")
    return folder


def script_of(clone, out, **environment):
    """Run `heartseg kaggle script` of a clone in a separate process; return its text and its warnings."""
    found = {**os.environ, "PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    call = [sys.executable, "-m", "heartseg", "kaggle", "script", "left_atrium", "--out", out]
    ended = subprocess.run(call, cwd=clone, env=found, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return out.read_bytes(), ended.stderr


def test_the_same_commit_gives_the_same_script(commit, tmp_path):
    """Two clones at other places, of another age, with other rights, under another locale and clock."""
    made = []
    for place, mask, environment in (
        ("a", 0o022, {"LC_ALL": "C", "TZ": "UTC"}),
        ("b/deep er/é", 0o077, {"LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}),
    ):
        clone = tmp_path / place
        before = os.umask(mask)
        try:
            clone.parent.mkdir(parents=True, exist_ok=True)
            git(tmp_path, "clone", "-q", commit, clone)
        finally:
            os.umask(before)
        age = time.time() - 1e6 * len(made)
        for path in clone.rglob("*.py"):
            os.utime(path, (age, age))
        # Caches and what git ignores do not go in, and change nothing.
        (clone / "heartseg" / "__pycache__").mkdir()
        (clone / "heartseg" / "__pycache__" / "cached.py").write_text("")
        (clone / "bundles" / "left_atrium" / "models" / "model.pt").write_bytes(b"weights")
        text, warned = script_of(clone, tmp_path / f"{len(made)}.py", **environment)
        assert warned == ""
        made.append(text)
    assert made[0] == made[1]
    header, files = taken_apart(made[0].decode())
    assert header["commit"] == git(commit, "rev-parse", "--short=12", "HEAD")
    assert not [name for name in files if "cached" in name or name.endswith(".pt")]


def test_changes_are_packed_with_a_warning(commit, tmp_path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", commit, clone)
    (clone / "bundles" / "left_atrium" / "configs" / "mine.yaml").write_text("epochs: 3\n")  # nobody has added it
    (clone / "heartseg" / "cli" / "demo.py").unlink()
    text, warned = script_of(clone, tmp_path / "k.py")
    header, files = taken_apart(text.decode())
    assert re.fullmatch(r"[0-9a-f]{12}-dirty", header["commit"])
    assert warned.startswith(f"warning: commit {header['commit']}: the pushed files differ from it; ")
    assert "heartseg/cli/demo.py" not in files and files["bundles/left_atrium/configs/mine.yaml"] == b"epochs: 3\n"


def test_an_installed_heartseg_makes_one_too(commit, tmp_path):
    """A wheel keeps the bundles inside the package, and knows no commit."""
    shutil.copytree(commit / "heartseg", tmp_path / "heartseg")
    shutil.copytree(commit / "bundles", tmp_path / "heartseg" / "bundles")
    text, warned = script_of(tmp_path, tmp_path / "k.py")
    header, files = taken_apart(text.decode())
    assert header["commit"] is None and warned == ""
    listed = git(commit, "ls-files", "heartseg/*.py", "bundles/left_atrium/configs/*").splitlines()
    assert [name for name in listed if name not in files] == []
    assert not [name for name in files if name.startswith("heartseg/bundles")]
    assert any(re.fullmatch(r"torch==2\..+", pin) for pin in header["pins"])


def test_lines_end_as_on_unix(tmp_path):
    shutil.copytree(ROOT / "bundles" / "left_atrium", tmp_path / "mine", ignore=shutil.ignore_patterns("*.pt"))
    overlay = tmp_path / "mine" / "configs" / "quick.yaml"
    overlay.write_bytes(overlay.read_bytes().replace(b"\n", b"\r\n"))
    _, files = taken_apart(kernel_script(tmp_path / "mine", {}).text)
    name = "configs/quick.yaml"
    assert files[f"bundles/mine/{name}"] == (ROOT / "bundles" / "left_atrium" / name).read_bytes()


def test_a_script_that_is_too_large_is_refused(tmp_path):
    shutil.copytree(ROOT / "bundles" / "left_atrium", tmp_path / "mine", ignore=shutil.ignore_patterns("*.pt"))
    (tmp_path / "mine" / "configs" / "large.yaml").write_bytes(os.urandom(LIMIT).replace(b"\r\n", b"  "))
    with pytest.raises(InputError, match=r"over Kaggle's 1,000,000; .* bundles/mine/configs/large.yaml \(1,000,000 b"):
        kernel_script(tmp_path / "mine", {})


def test_what_only_a_bundle_needs_is_required(tmp_path):
    shutil.copytree(ROOT / "bundles" / "left_atrium", tmp_path / "mine", ignore=shutil.ignore_patterns("*.pt"))
    path = tmp_path / "mine" / "configs" / "metadata.json"
    content = json.loads(path.read_text())
    content["required_packages_version"]["h5py"] = "3.15.1"
    path.write_text(json.dumps(content))
    header, _ = taken_apart(kernel_script(tmp_path / "mine", {}).text)
    assert "h5py" in header["requirements"] and "h5py==3.15.1" in header["pins"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"set_": ["epoch=3"]}, "--set epoch: the configuration has no such id; did you mean epochs?"),
        ({"set_": ["epochs=soon"]}, "--set epochs: 'soon' is not a number"),
        ({"overlays": ["quik"]}, "did you mean quick?"),
        ({"set_": ["dataset_dir=/x"]}, "--set dataset_dir: on Kaggle the kernel sets it"),
        ({"minutes": 720}, "--minutes 720: is not at least 1 and below 720, when Kaggle ends a session"),
        ({"minutes": 0}, "--minutes 0: is not at least 1 and below 720"),
    ],
)
def test_invalid_options_are_refused(options, said):
    with pytest.raises(InputError) as error:
        session_options(ROOT / "bundles" / "left_atrium", **options)
    assert said in str(error.value)
