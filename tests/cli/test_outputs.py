"""An output that cannot be written is refused before anything is read or computed, and nothing is left behind."""

import errno
import os
import tempfile

import pytest
from answers import refused

COMMANDS = {
    "demo": ["demo"],
    "train": ["train", "left_atrium", "--data", "nowhere"],
    "segment": ["segment", "left_atrium", "nowhere"],
    "evaluate": ["evaluate", "left_atrium", "--data", "nowhere"],
    "robustness": ["robustness", "left_atrium", "--data", "nowhere"],
    "compare": ["compare", "one", "other"],
    "gallery": ["gallery", "nowhere.nii"],
    "phantom": ["phantom"],
    "fetch": ["data", "fetch", "nothing"],
    "push": ["kaggle", "push", "left_atrium", "--dry-run"],
    "script": ["kaggle", "script", "left_atrium"],
    "pull": ["kaggle", "pull", "alice/kernel"],
}
FILES = ("gallery", "script")  # commands whose output is one file


def words(command, out):
    out = f"{out}/file.png" if command in FILES else out
    return [*COMMANDS[command], *([] if command == "phantom" else ["--out"]), out]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "readonly").mkdir()
    monkeypatch.chdir(tmp_path)
    yield
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "readonly"]


@pytest.mark.parametrize("out", ["file", "file/x"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_where_the_folder_belongs(command, out, heartseg):
    assert refused(heartseg(*words(command, out))) == "file: is a file, not a folder; use another output folder"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_without_write_permission(command, number, heartseg, monkeypatch):
    def refuse(dir):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # tests may run as root, who may write anywhere
    line = f"readonly: cannot be written ({os.strerror(number)}); use another output folder"
    assert refused(heartseg(*words(command, "readonly"))) == line


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_name(command, heartseg):
    status, _, err = heartseg(*words(command, "")[:-1], "")
    assert status == 2 and "is empty; name a folder" in " ".join(err.split())


def test_a_folder_where_the_script_belongs(heartseg):
    line = "readonly: is a folder; give the name of a file"
    assert refused(heartseg("kaggle", "script", "left_atrium", "--out", "readonly")) == line
