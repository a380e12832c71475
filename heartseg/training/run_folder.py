"""The folder of a training run."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from heartseg import distributed
from heartseg.data.files import PARTIAL, provenance, read_cases_of, write_json
from heartseg.data.layout import Case
from heartseg.errors import InputError
from heartseg.networks.weights import licence_of, notes_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


LOCK = "run.lock"  # held by the process that trains; it marks the folder of a run
MARK, LAST = b"heartseg sha256 ", 100  # start of the comment at the end of a checkpoint, and bytes it is within
CONFIG, NEXT_CONFIG = "config.yaml", ".config.yaml"  # the configuration of a run, and of one that is about to start
_HELD: dict[Path, IO[str]] = {}


def new_run(
    output_dir: str | os.PathLike[str],
    train: Sequence[Case],
    val: Sequence[Case],
    initial_weights: str | os.PathLike[str] | None = None,
) -> None:
    """Make or enter the folder of a run, and note beside its weights which cases train and which validate.

    The folder belongs to this process until `leave_run`, or until it ends in any way; of several that train together
    (`heartseg.distributed`) to the first, for which the others wait. Cases that trained the initial weights have
    trained these too, and the licence of those applies to these.

    Raises InputError if another process trains in this folder, and if it holds weights that no run of heartseg left
    there: nothing is overwritten.
    """
    if not distributed.is_first():
        distributed.wait()
        return
    folder = Path(output_dir).absolute()
    held = [name for name in ("model.pt", "checkpoint.pt", "training_metrics.json") if (folder / name).exists()]
    if held and not (folder / LOCK).exists() and not _is_ours(folder / "checkpoint.pt"):
        fault = f"holds {', '.join(held)} that no run of heartseg left there"
        raise InputError(f"{folder}: {fault}; use another output folder")
    earlier = read_cases_of(initial_weights).get("train", []) if initial_weights else []
    ids = list(dict.fromkeys([case["id"] for case in train] + earlier))
    notes = {"train": ids, "val": [case["id"] for case in val], **provenance(initial_weights)}
    if licence := licence_of(initial_weights) if initial_weights else None:
        notes["licence"] = {"name": licence["name"], "commercial": licence["commercial"]}  # its file is not copied
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _lock(folder)
        (folder / NEXT_CONFIG).unlink(missing_ok=True)  # left by a start that was killed
        if not (folder / "checkpoint.pt").exists():  # a run that resumes has the same cases
            write_json(notes_file(folder / "model.pt"), notes)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); use another output folder") from None
    distributed.wait()


def leave_run(output_dir: str | os.PathLike[str]) -> None:
    """Release the run folder that `new_run` entered."""
    if file := _HELD.pop(Path(output_dir).absolute(), None):
        file.close()


def keep_config(output_dir: str | os.PathLike[str], wanted: bool) -> None:
    """Make ``.config.yaml`` the ``config.yaml`` of a run that starts or resumes with it; remove it if not ``wanted``.

    The weights of a run are used with its ``config.yaml``: a start that was refused must not change it.
    """
    asked = Path(output_dir) / NEXT_CONFIG
    if asked.exists() and distributed.is_first():
        asked.replace(asked.with_name(CONFIG)) if wanted else asked.unlink()


def _is_ours(checkpoint: Path) -> bool:
    """Return whether a run of heartseg wrote a checkpoint, by its last bytes."""
    if not checkpoint.is_file() or checkpoint.stat().st_size < LAST:
        return False
    with open(checkpoint, "rb") as file:
        file.seek(-LAST, os.SEEK_END)
        return MARK in file.read()


def _lock(folder: Path) -> None:
    """Hold the folder's lock, which the system releases when this process ends. Windows and some drives have none."""
    if folder in _HELD:
        return
    file = open(folder / LOCK, "a+")  # noqa: SIM115 - it stays open
    if fcntl is not None:
        try:
            # Not flock: that is shared with the workers of a data loader, which outlive a killed process by seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                _HELD[folder] = file
                return
            file.seek(0)
            owner = file.read().strip() or "another process"
            file.close()
            raise InputError(f"{folder}: {owner} trains there; wait for it, or use another output folder") from None
    for left in folder.glob(PARTIAL):  # left by a process that was killed while writing
        left.unlink()
    file.truncate(0)
    file.write(f"process {os.getpid()}")
    file.flush()
    _HELD[folder] = file
