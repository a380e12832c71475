import hashlib
import json

import pytest
from kaggle_stub import refusal

from heartseg.errors import InputError
from heartseg.kaggle.manifest import (
    MANIFEST,
    MAX_BYTES,
    allowed,
    difference,
    read_manifest,
    safe_name,
    verify,
    wanted,
    write_manifest,
)

ABOUT = {"bundle": "toy", "commit": "abc", "finished": True}
SOUND = {"size": 1, "sha256": "0" * 64}


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def written(folder, content):
    (folder / MANIFEST).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / MANIFEST


def test_it_names_what_may_be_pulled_in_order(tmp_path):
    names = ["LICENSE", "curves.png", "model.pt", "pictures/b.png", "pictures/a.png", "tensorboard/events.out.1"]
    others = ["kernel.py", "run.log", "pictures/x/y.png", "pictures/a.html", "tensorboard/.events.x", "old/model.pt"]
    fill(tmp_path, *names, *others, "pictures/.partial-1-a.png", MANIFEST)
    (tmp_path / "final.pt").symlink_to(tmp_path / "model.pt")
    (tmp_path / "linked").mkdir()
    path = write_manifest(tmp_path, ABOUT)
    content = json.loads(path.read_bytes())
    assert list(content) == ["files", *ABOUT] and content | ABOUT == content
    assert list(content["files"]) == sorted(names)
    assert content["files"]["model.pt"] == {"size": 8, "sha256": hashlib.sha256(b"model.pt").hexdigest()}
    assert read_manifest(path) == content
    verify(tmp_path, content)


def test_a_folder_behind_a_link_is_not_searched(tmp_path):
    fill(tmp_path / "elsewhere", "a.png")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pictures").symlink_to(tmp_path / "elsewhere")
    assert read_manifest(write_manifest(tmp_path / "run", {}))["files"] == {}


def test_an_invalid_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_manifest(tmp_path, {"dice": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["model.pt", "tensorboard/events.out.tfevents.1", "a b", "pictures/ä.png", "a..b", "..a"]
)
def test_names_that_stay(name):
    assert safe_name(name) == name


BAD = [
    "",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "/a",
    "//h/a",
    "C:a",
    "C:\\a",
    "a\\b",
    "\\a",
    "a\0",
    "\x1b[m",
]


@pytest.mark.parametrize("name", [*BAD, None, 3, "a\u2028b", "\ud800"])
def test_names_that_lead_out_of_the_folder(name, tmp_path):
    assert "is not a valid name for a file of a kernel's output" in refusal(safe_name, name)
    if isinstance(name, str) and name != "\ud800":
        assert "is not a valid name for a file" in refusal(read_manifest, written(tmp_path, {"files": {name: SOUND}}))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        '"files"',
        "{}",
        '{"files": []}',
        '{"files": {"a": 1}}',
        '{"files": {"a": {}}}',
        "[" * 9999,
    ],
)
def test_invalid_manifests(tmp_path, content):
    assert refusal(read_manifest, written(tmp_path, content)) == (
        "manifest.json: is not the manifest of a run; push the kernel again"
    )


@pytest.mark.parametrize(
    "entry",
    [SOUND | {"size": size} for size in (-1, 1.5, "1", None, True)]
    + [SOUND | {"sha256": digest} for digest in ("", "0" * 63, "A" * 64, "0" * 64 + "\n", 0, None)],
)
def test_invalid_entries(tmp_path, entry):
    path = written(tmp_path, {"files": {"model.pt": entry}})
    assert refusal(read_manifest, path) == (
        "manifest.json: the size or sha256 of model.pt is invalid; push the kernel again"
    )


def test_names_that_are_one_on_other_disks(tmp_path):
    path = written(tmp_path, {"files": {"LICENSE": SOUND, "license": SOUND}})
    assert "names license twice, apart from case" in refusal(read_manifest, path)


def test_a_manifest_that_is_too_large_or_missing(tmp_path):
    path = written(tmp_path, " " * (MAX_BYTES + 1))
    assert f"has over {MAX_BYTES} bytes" in refusal(read_manifest, path)
    path.unlink()
    assert refusal(read_manifest, path) == f"{path}: cannot be read (No such file or directory)"


def test_other_names_are_not_wanted():
    manifest = {"files": {"model.pt": SOUND, "evil.py": SOUND, "pictures/a.png": SOUND}}
    assert list(wanted(manifest)) == ["model.pt", "pictures/a.png"]
    assert not allowed("pictures/../model.pt") and not allowed("x/model.pt") and not allowed(MANIFEST)


def test_differences(tmp_path):
    fill(tmp_path, "model.pt", "config.yaml")
    manifest = read_manifest(write_manifest(tmp_path, {}))
    (tmp_path / "model.pt").write_bytes(b"model.pT")
    assert refusal(verify, tmp_path, manifest) == "model.pt: its sha256 differs from the manifest"
    (tmp_path / "model.pt").write_bytes(b"model")
    assert refusal(verify, tmp_path, manifest) == "model.pt: has 5 bytes instead of the 8 of the manifest"
    (tmp_path / "model.pt").unlink()
    assert refusal(verify, tmp_path, manifest) == "model.pt: is missing"
    (tmp_path / "model.pt").symlink_to(tmp_path / "config.yaml")
    assert difference(tmp_path / "model.pt", manifest["files"]["config.yaml"]) == "is missing"
    verify(tmp_path, {"files": {"config.yaml": manifest["files"]["config.yaml"], "evil.py": SOUND}})


def test_a_manifest_of_thousands_of_files_is_refused(tmp_path):
    files = {f"pictures/{number}.png": {"size": 1, "sha256": "0" * 64} for number in range(501)}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    with pytest.raises(InputError, match=r"names 501 files, over 500"):
        read_manifest(tmp_path / "manifest.json")
