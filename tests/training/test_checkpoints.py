"""Checkpoints: whole or missing, and distinguished from damaged ones."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import forked

from heartseg.errors import InputError
from heartseg.training.checkpoints import MARK, REMEDY, DamagedError, load_checkpoint, save_checkpoint

STATE = {"weights": {"a": torch.arange(12.0).reshape(3, 4)}, "epoch": 3, "history": [{"loss": 0.5}, None], "name": "x"}


def other(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((500,), value)}


def same(one: Any, two: Any) -> bool:
    return str(one) == str(two)


def test_what_is_saved_is_loaded_and_torch_reads_it_too(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoint.pt"
    assert save_checkpoint(STATE, path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert same(load_checkpoint(path), STATE)
    assert same(torch.load(path, weights_only=True), STATE)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_the_checksum_is_that_of_the_archive_without_it(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(STATE, path)
    content = path.read_bytes()
    archive, _, digest = content.rpartition(MARK)
    assert hashlib.sha256(archive[:-2] + b"\0\0").hexdigest().encode() == digest
    assert int.from_bytes(archive[-2:], "little") == len(MARK + digest)


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """Anywhere: in the weights, between them, in the list of contents, in the comment, in the checksum."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(STATE, path)
    content = path.read_bytes()
    places = {*range(0, len(content), 7), *range(len(content) - len(MARK) - 90, len(content))}
    for place in sorted(places):
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(DamagedError, match="checkpoint.pt: ") as caught:
            load_checkpoint(path)
        assert "\n" not in str(caught.value), place


@pytest.mark.parametrize("length", [0, 1, 100, -1, -20, -64, -90, -200])
def test_a_checkpoint_cut_short_or_with_something_behind_is_noticed(length: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(STATE, path)
    content = path.read_bytes()
    for broken in (
        content[:length],
        content + content[:length] + b"x",
        content[: len(content) // 2] + content[:length],
    ):
        path.write_bytes(broken)
        with pytest.raises(DamagedError):
            load_checkpoint(path)


def test_what_no_run_wrote_is_refused_in_one_line(tmp_path: Path) -> None:
    text, foreign, objects = tmp_path / "text.pt", tmp_path / "foreign.pt", tmp_path / "objects.pt"
    text.write_text("no checkpoint")
    torch.save(STATE, foreign)
    save_checkpoint({"call": print}, objects)  # weights_only lets no function in
    for path, said in (
        (text, "is damaged, or not a checkpoint of heartseg"),
        (foreign, "is damaged"),
        (objects, "cannot"),
    ):
        with pytest.raises(DamagedError) as caught:
            load_checkpoint(path)
        assert str(caught.value).startswith(f"{path}: {said}") and "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"none.pt: cannot be read \(No such file") as missing:
        load_checkpoint(tmp_path / "none.pt")
    assert not isinstance(missing.value, DamagedError)


def test_the_one_before_is_kept_under_its_name(tmp_path: Path) -> None:
    path, kept = tmp_path / "checkpoint.pt", tmp_path / "before.pt"
    for value in (1.0, 2.0, 3.0):
        save_checkpoint(other(value), path, keep="before.pt")
        assert load_checkpoint(path)["a"][0] == value
        assert kept.exists() == (value > 1)
        if value > 1:
            assert load_checkpoint(kept)["a"][0] == value - 1
    save_checkpoint(other(4.0), path)
    assert load_checkpoint(kept)["a"][0] == 2
    assert {item.name for item in tmp_path.iterdir()} == {"checkpoint.pt", "before.pt"}


def test_where_files_have_one_name_only_the_one_before_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    for value in (1.0, 2.0):
        save_checkpoint(other(value), tmp_path / "checkpoint.pt", keep="before.pt")
    assert load_checkpoint(tmp_path / "before.pt")["a"][0] == 1
    assert {item.name for item in tmp_path.iterdir()} == {"checkpoint.pt", "before.pt"}


# Disks that fill


def failing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(name, fail)


@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.link"])
def test_where_writing_fails_all_is_as_it_was(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(other(1.0), path)
    save_checkpoint(other(2.0), path, keep="before.pt")
    before = {item.name: item.read_bytes() for item in tmp_path.iterdir()}
    if call == "os.link":
        monkeypatch.setattr(Path, "write_bytes", lambda *_: os.fsync(-1))  # the copy instead of the link
        failing("os.fsync", monkeypatch)
    failing(call, monkeypatch)
    with pytest.raises(InputError) as caught:
        save_checkpoint(other(3.0), path, keep="before.pt")
    assert str(caught.value) == (f"{path}: cannot be written (No space left on device); {REMEDY}")
    assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == before


def save_three(path: Path) -> Callable[[], str]:
    def save() -> str:
        for value in (1.0, 2.0):
            save_checkpoint(other(value), path, keep="before.pt")
        try:
            save_checkpoint({"a": torch.zeros(10**6)}, path, keep="before.pt")
        except InputError as error:
            return str(error)
        return "saved"

    return save


def left_as_it_was(path: Path) -> None:
    assert load_checkpoint(path)["a"][0] == 2 and load_checkpoint(path.with_name("before.pt"))["a"][0] == 1
    assert {item.name for item in path.parent.iterdir() if item.name != "lost+found"} == {path.name, "before.pt"}


def test_a_file_that_grows_too_large(tmp_path: Path) -> None:
    """By a limit of the system, in a process of its own."""
    path = tmp_path / "run" / "checkpoint.pt"

    def save() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
        return save_three(path)()

    assert forked(save, tmp_path) == f"{path}: cannot be written (File too large); {REMEDY}"
    left_as_it_was(path)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A real one, of a megabyte."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "heartseg-test", tmp_path], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"no disk of a megabyte here: {mount.stderr.strip()}")
    try:
        path = tmp_path / "checkpoint.pt"
        said = save_three(path)()
        assert said == f"{path}: cannot be written (No space left on device); {REMEDY}"
        left_as_it_was(path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(InputError, match=r"run: cannot be written \(.*\); "):
        save_checkpoint(STATE, tmp_path / "run" / "checkpoint.pt")
