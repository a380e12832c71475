"""Files are written atomically, and results carry their provenance."""

import errno
import gzip
import json
import math
import os
import subprocess
import tempfile
from pathlib import Path

import monai
import numpy as np
import pytest
import torch

import heartseg
from heartseg.data import files
from heartseg.data.files import atomic, commit, plain, provenance, read_cases_of, sha256, writable_folder, write_json
from heartseg.errors import InputError, input_error

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_renames_the_file_at_the_end(tmp_path):
    target = tmp_path / "new" / "folder" / "mask.nii.gz"
    with atomic(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == target.parent  # a rename across file systems is a copy
        assert temporary.name.endswith("mask.nii.gz")
        assert temporary.name.startswith(".")  # readers skip hidden files
        number = temporary.stat().st_ino
    assert target.stat().st_ino == number  # renamed, since a copy could be interrupted
    assert listing(target.parent) == ["mask.nii.gz"]
    assert target.read_text() == "whole"


def test_atomic_replaces_an_older_file(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with atomic(str(tmp_path / "a.json")) as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.json").read_text() == "old"
    assert (tmp_path / "a.json").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_leaves_nothing_after_a_failure(tmp_path, error):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(error), atomic(tmp_path / "a.json") as temporary:
        temporary.write_text("ha")
        raise error
    assert listing(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_atomic_without_a_file_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.json"):
        pass
    assert listing(tmp_path) == []


REFUSED = [errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EIO, errno.ENAMETOOLONG]
FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


@pytest.mark.parametrize("number", REFUSED + FULL)
@pytest.mark.parametrize("step", ["open", "write", "rename"])
def test_a_file_that_the_system_refuses_is_named(tmp_path, monkeypatch, number, step):
    (tmp_path / "a.json").write_text("old")
    names = {"open": (str(tmp_path / f".partial-{os.getpid()}-a.json"),), "write": (), "rename": ()}
    error = OSError(number, os.strerror(number), *names[step])

    def refuse(source, target):
        raise OSError(number, os.strerror(number), os.fspath(source), None, os.fspath(target))

    if step == "rename":
        monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError) as caught, atomic(tmp_path / "a.json") as temporary:
        temporary.write_text("ha")
        if step != "rename":
            raise error
    remedy = "free some space, then run the same command again" if number in FULL else "use another output folder"
    assert str(caught.value) == f"{tmp_path / 'a.json'}: cannot be written ({os.strerror(number)}); {remedy}"
    assert input_error(caught.value) is caught.value
    assert listing(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_folder_where_the_file_belongs_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=rf"^{tmp_path}/a: is a folder; give the name of a file$"):
        write_json(tmp_path / "a", {})
    assert listing(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "scan.nii.gz"),  # which the caller reads
        PermissionError(errno.EACCES, "Permission denied", "copied/a.json"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        OSError("the server answers 500"),
    ],
)
def test_errors_of_other_things_than_the_file_pass(tmp_path, error):
    with pytest.raises(OSError) as caught, atomic(tmp_path / "a.json"):  # noqa: PT011 - the same error is asserted
        raise error
    assert caught.value is error
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["", "old", "new", "new/er"])
def test_a_folder_that_can_be_written_is_not_created(tmp_path, name):
    (tmp_path / "old").mkdir()
    assert writable_folder(tmp_path / name) == tmp_path / name
    assert listing(tmp_path) == ["old"] and listing(tmp_path / "old") == []


@pytest.mark.parametrize("name", ["old", "new", "new/er"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch, name, number):
    def refuse(dir):
        assert Path(dir) == (tmp_path / "old" if name == "old" else tmp_path)
        raise OSError(number, os.strerror(number))

    (tmp_path / "old").mkdir()
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError) as caught:
        writable_folder(tmp_path / name)
    line = f"{tmp_path / name}: cannot be written ({os.strerror(number)}); use another output folder"
    assert str(caught.value) == line
    assert listing(tmp_path) == ["old"]


@pytest.mark.parametrize("name", ["file", "file/x", "file/x/y", "link", "link/x"])
def test_a_file_where_a_folder_belongs_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone")
    there = tmp_path / Path(name).parts[0]
    with pytest.raises(InputError, match=rf"^{there}: is a file, not a folder; use another output folder$"):
        writable_folder(tmp_path / name)


def test_a_folder_with_too_long_a_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r": cannot be written \(File name too long\); use another output folder$"):
        writable_folder(tmp_path / ("x" * 300))
    assert listing(tmp_path) == []


def test_write_json(tmp_path):
    write_json(tmp_path / "a.json", {"dice": 0.5, "names": ["é", None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"dice": 0.5, "names": ["é", None]}
    assert text.endswith("}\n") and text.count("\n") == 7  # readable


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_write_json_refuses_nan_and_infinity(tmp_path, number):
    write_json(tmp_path / "a.json", {"dice": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"dice": 2, "hd": [number]})
    assert listing(tmp_path) == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"dice": 1}


def test_write_json_refuses_other_types(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"dice": torch.ones(1)})
    assert listing(tmp_path) == []


def test_sha256_of_known_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "nothing").touch()
    assert sha256(tmp_path / "abc") == sha256(str(tmp_path / "abc")) == ABC
    assert sha256(tmp_path / "nothing") == NOTHING


def test_sha256_of_a_file_larger_than_one_chunk(tmp_path):
    (tmp_path / "a").write_bytes(b"a" * 1_000_000)  # FIPS 180-2, appendix B.3
    assert sha256(tmp_path / "a") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_provenance(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    assert provenance(tmp_path / "model.pt") == {
        "heartseg": heartseg.__version__,
        "commit": commit(),
        "monai": monai.__version__,
        "torch": str(torch.__version__),
        "weights": {"file": "model.pt", "sha256": ABC},
    }
    json.dumps(provenance())


@pytest.mark.parametrize("weights", [None, "gone.pt"])
def test_provenance_without_weights(tmp_path, weights):
    assert provenance(weights and tmp_path / weights)["weights"] is None


def test_provenance_names_the_licence_of_the_weights(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    licence = {"name": "CC BY-NC-SA 4.0", "commercial": False, "file": "LICENSE"}
    write_json(tmp_path / "model.json", {"train": ["a"], "licence": licence})
    assert provenance(tmp_path / "model.pt")["weights"] == {
        "file": "model.pt",
        "sha256": ABC,
        "licence": "CC BY-NC-SA 4.0",
    }
    assert read_cases_of(tmp_path / "model.pt") == {"train": ["a"]}
    write_json(tmp_path / "model.json", {"licence": "CC BY-NC-SA 4.0"})
    with pytest.raises(InputError, match='"licence" cannot be read'):
        provenance(tmp_path / "model.pt")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Make a folder that heartseg seems to run from. Tests call ``commit.__wrapped__``, which is not cached."""
    (tmp_path / "heartseg").mkdir()
    (tmp_path / "heartseg" / "__init__.py").touch()
    monkeypatch.setattr(files.heartseg, "__file__", str(tmp_path / "heartseg" / "__init__.py"))
    return tmp_path


def test_commit_of_a_checkout(checkout):
    def git(*args):
        who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", "-C", checkout, *who, *args], check=True, capture_output=True, text=True).stdout

    assert commit.__wrapped__() is None  # installed: no repository
    git("init", "-q")
    assert commit.__wrapped__() is None  # nothing committed yet
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert commit.__wrapped__() == git("rev-parse", "--short=12", "HEAD").strip()
    git("tag", "v1")  # a tag is not a commit
    (checkout / "heartseg" / "__init__.py").write_text("changed")
    assert commit.__wrapped__() == git("rev-parse", "--short=12", "HEAD").strip() + "-dirty"


def test_commit_of_a_packed_package(checkout):
    """Without a repository, the package may hold the commit that it was packed from."""
    (checkout / "heartseg" / "COMMIT").write_text("0123456789ab-dirty\n")
    assert commit.__wrapped__() == "0123456789ab-dirty"
    (checkout / "heartseg" / "COMMIT").write_bytes(b"\xff")
    assert commit.__wrapped__() is None
    (checkout / ".git").mkdir()
    (checkout / "heartseg" / "COMMIT").write_text("0123456789ab\n")
    assert commit.__wrapped__() is None  # a repository takes precedence, even one without commits


def test_cases_are_recorded_with_the_weights(tmp_path):
    write_json(tmp_path / "model.json", {"train": ["a", "b"], "val": ["c"]})
    for name in ("model.pt", "final.pt", "checkpoint.pt"):  # one run, one list
        assert read_cases_of(tmp_path / name) == {"train": ["a", "b"], "val": ["c"]}
    assert read_cases_of(tmp_path / "pose.pt") == {}


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1, 2]", b"\xff\xfe", gzip.compress(b"{}", mtime=0)])
def test_cases_that_were_not_recorded(tmp_path, content):
    if content is not None:
        (tmp_path / "model.json").write_bytes(content)
    assert read_cases_of(tmp_path / "model.pt") == {}


def test_plain():
    value = {"a": math.inf, 1: (True, 2, None), "device": torch.device("cpu"), "path": Path("a"), "array": np.arange(2)}
    rest = {"1": [True, 2, None], "device": "cpu", "path": "a", "array": [0, 1]}
    assert plain(value) == {"a": math.inf, **rest}
    assert plain(value, finite=True) == {"a": None, **rest}
