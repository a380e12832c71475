"""The folder of a run: one process trains there, and what others left is not touched."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from faults import fork, forked, wait

import heartseg
from heartseg.data.files import read_cases_of, write_json
from heartseg.errors import InputError
from heartseg.training import new_run
from heartseg.training import run_folder as module
from heartseg.training.run_folder import LOCK, keep_config, leave_run


def cases(*ids: str) -> list[dict[str, Any]]:
    return [{"id": identity, "patient": identity, "image": f"{identity}.nii.gz"} for identity in ids]


def enter(folder: str | Path) -> str:
    """Return the message that a second process gets."""
    try:
        new_run(folder, cases("c"), cases("d"))
    except InputError as error:
        return str(error)
    return "entered"


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No test leaves a folder held; a child holds none of its parent's."""
    held: dict[Path, Any] = {}
    monkeypatch.setattr(module, "_HELD", held)
    yield
    for folder in list(held):
        leave_run(folder)


def test_a_new_run_notes_its_cases_beside_its_weights(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "first"
    new_run(run, cases("b", "a"), cases("c"))
    assert {path.name for path in run.iterdir()} == {"model.json", LOCK}
    content = json.loads((run / "model.json").read_text())
    assert (content["train"], content["val"]) == (["b", "a"], ["c"])
    assert content["heartseg"] == heartseg.__version__
    assert content["weights"] is None
    assert read_cases_of(run / "model.pt")["train"] == ["b", "a"]


def test_a_run_that_ended_before_its_first_checkpoint_can_start_again(tmp_path: Path) -> None:
    new_run(tmp_path, cases("a"), cases("b"))
    leave_run(tmp_path)
    new_run(str(tmp_path), cases("c"), cases("d"))
    assert read_cases_of(tmp_path / "model.pt")["train"] == ["c"]


def test_a_resumed_run_keeps_its_notes(tmp_path: Path) -> None:
    new_run(tmp_path, cases("a"), cases("b"))
    leave_run(tmp_path)
    for name in ("checkpoint.pt", "model.pt", "training_metrics.json"):
        (tmp_path / name).write_bytes(b"weeks of work")
    new_run(tmp_path, cases("c"), cases("d"))
    assert read_cases_of(tmp_path / "model.pt") == {"train": ["a"], "val": ["b"]}
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"weeks of work"


@pytest.mark.parametrize("held", ["model.pt", "checkpoint.pt", "training_metrics.json"])
def test_what_no_run_left_is_refused_and_left_as_it_is(tmp_path: Path, held: str) -> None:
    (tmp_path / held).write_bytes(b"weeks of work")
    assert enter(tmp_path) == f"{tmp_path}: holds {held} that no run of heartseg left there; use another output folder"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {held: b"weeks of work"}


def test_a_run_whose_lock_was_removed_is_known_by_its_checkpoint(tmp_path: Path) -> None:
    from heartseg.training.checkpoints import save_checkpoint

    save_checkpoint({"epoch": 1}, tmp_path / "checkpoint.pt")
    new_run(tmp_path, cases("a"), cases("b"))
    assert (tmp_path / LOCK).exists()


def test_a_start_that_was_refused_does_not_change_what_a_run_was(tmp_path: Path) -> None:
    for wanted, left in ((False, "old"), (True, "new")):
        (tmp_path / "config.yaml").write_text("old")
        (tmp_path / ".config.yaml").write_text("new")
        keep_config(tmp_path, wanted)
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("config.yaml", left)]
    keep_config(tmp_path, True)  # there is none
    (tmp_path / ".config.yaml").write_text("of a start that was killed")
    (tmp_path / LOCK).touch()
    new_run(tmp_path, cases("a"), cases("b"))
    assert not (tmp_path / ".config.yaml").exists()


def test_all_that_a_folder_holds_is_named(tmp_path: Path) -> None:
    for name in ("checkpoint.pt", "model.pt", "notes.txt"):
        (tmp_path / name).touch()
    assert f"{tmp_path}: holds model.pt, checkpoint.pt that no run of heartseg left there; " in enter(tmp_path)


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    new_run(tmp_path, cases("a"), cases("b"))
    leave_run(tmp_path)
    for name in (".partial-123-checkpoint.pt", ".partial-7-run_summary.json"):
        (tmp_path / name).touch()
    (tmp_path / ".partial-of-somebody").mkdir()
    new_run(tmp_path, cases("a"), cases("b"))
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", LOCK, ".partial-of-somebody"}


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no folder")
    line = enter(tmp_path / name)
    assert line.startswith(f"{tmp_path / name}: cannot be written (")
    assert line.endswith("; use another output folder")
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_into(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root may write anywhere, the system's refusal is played."""

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("builtins.open", refuse)
    line = f"{tmp_path}: cannot be written ({os.strerror(number)}); use another output folder"
    assert enter(tmp_path) == line


# One process at a time


def test_a_second_process_is_refused_in_one_line_until_the_first_leaves(tmp_path: Path) -> None:
    run, notes = tmp_path / "run", tmp_path / "notes"
    notes.mkdir()
    new_run(run, cases("a"), cases("b"))
    new_run(run, cases("a"), cases("b"))  # its own folder

    def second() -> str:
        module._HELD.clear()
        return enter(run)

    assert forked(second, notes) == (
        f"{run}: process {os.getpid()} trains there; wait for it, or use another output folder"
    )
    # The lock is not read before it is left: that would let it go.
    assert read_cases_of(run / "model.pt")["train"] == ["a"]
    leave_run(run)
    leave_run(run)  # nothing happens
    assert (run / LOCK).read_text() == f"process {os.getpid()}"
    assert forked(second, notes) == "entered"


def test_a_killed_process_holds_nothing_even_while_its_workers_live(tmp_path: Path) -> None:
    run, worker = tmp_path / "run", tmp_path / "worker"

    def train() -> None:
        new_run(run, cases("a"), cases("b"))
        child = os.fork()
        if not child:
            time.sleep(600)
            os._exit(0)
        worker.with_suffix(".new").write_text(str(child))
        worker.with_suffix(".new").rename(worker)
        time.sleep(600)

    trainer = fork(train, tmp_path / "log")
    while not worker.exists():
        time.sleep(0.01)
    assert enter(run) == f"{run}: process {trainer} trains there; wait for it, or use another output folder"
    os.kill(trainer, signal.SIGKILL)
    wait(trainer)
    try:
        os.kill(int(worker.read_text()), 0)  # it lives
        assert enter(run) == "entered"
    finally:
        os.kill(int(worker.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_training_runs_on_a_file_system_without_locks(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", refuse)
    assert enter(tmp_path) == "entered"


# Licences


def test_fine_tuned_weights_inherit_the_licence(tmp_path: Path) -> None:
    licence = {"name": "CC BY-NC-SA 4.0", "commercial": False}
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_json(tmp_path / "model.json", {"train": ["a"], "licence": {**licence, "file": "LICENSE"}})
    new_run(tmp_path / "tuned", cases("b"), cases("c"), tmp_path / "model.pt")
    content = json.loads((tmp_path / "tuned" / "model.json").read_text())
    assert content["licence"] == licence  # its file lies elsewhere
    assert content["weights"]["licence"] == "CC BY-NC-SA 4.0"
    assert read_cases_of(tmp_path / "tuned" / "model.pt") == {"train": ["b", "a"], "val": ["c"]}
    new_run(tmp_path / "again", cases("d"), cases("e"), tmp_path / "tuned" / "final.pt")
    assert json.loads((tmp_path / "again" / "model.json").read_text())["licence"] == licence


def test_a_run_from_scratch_has_no_licence(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    new_run(tmp_path / "scratch", cases("a"), cases("b"))
    new_run(tmp_path / "tuned", cases("a"), cases("b"), tmp_path / "model.pt")
    for run in ("scratch", "tuned"):
        assert "licence" not in json.loads((tmp_path / run / "model.json").read_text())


def test_a_licence_that_cannot_be_read_stops_the_run(tmp_path: Path) -> None:
    write_json(tmp_path / "model.json", {"licence": {"name": "CC BY-NC-SA 4.0"}})
    with pytest.raises(InputError, match='model.json: "licence" cannot be read; write'):
        new_run(tmp_path / "tuned", cases("a"), cases("b"), tmp_path / "model.pt")
    assert not (tmp_path / "tuned").exists()
