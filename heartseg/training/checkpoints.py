"""Checkpoints that are whole or not there, with their checksum inside, and the one before kept."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from heartseg.data.files import atomic
from heartseg.errors import InputError
from heartseg.training.run_folder import MARK


class DamagedError(InputError):
    """A checkpoint that is not what was written."""


def save_checkpoint(state: Mapping[str, Any], path: str | os.PathLike[str], keep: str | None = None) -> str:
    """Write a state of tensors and plain values, whole or not at all, with its SHA-256; return that of the file.

    ``torch.load`` reads it as any other: a checkpoint is a zip archive, and the checksum is the archive's comment,
    of the archive as it was without one.

    Args:
        state: what ``torch.load(weights_only=True)`` takes.
        path: of the file.
        keep: name beside it under which the file that was there stays, until the next save.

    Raises InputError, with the system's words, where it cannot be written; the file that was there is as it was.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getbuffer()
    hashed = hashlib.sha256(content[:-2])  # an archive without a comment ends in its length, 0
    whole = hashed.copy()
    hashed.update(content[-2:])
    comment = _comment(hashed.hexdigest())
    whole.update(comment)
    try:
        with atomic(path) as temporary:
            with open(temporary, "wb") as file:
                file.write(content[:-2])
                file.write(comment)
                file.flush()
                os.fsync(file.fileno())
            if keep and path.exists():
                with atomic(path.with_name(keep)) as before:
                    link_or_copy(path, before)
        flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); mend that, the same command goes on") from None
    return whole.hexdigest()


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A state that `save_checkpoint` wrote, on the CPU.

    Raises DamagedError where the checksum is not that of what was written, and InputError where it cannot be read.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); mend that, the same command goes on") from None
    at = max(content.rfind(MARK) - 2, 0)
    hashed = hashlib.sha256(memoryview(content)[:at])
    hashed.update(b"\0\0")
    if content[at:] != _comment(hashed.hexdigest()):
        raise DamagedError(f"{path}: is damaged, or no checkpoint of heartseg; remove it, or name another folder")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no one kind of error for it
        words = str(error).strip().splitlines()[:1]
        raise DamagedError(f"{path}: cannot be loaded ({' '.join(words)}); remove it") from None
    if not isinstance(state, dict):
        raise DamagedError(f"{path}: is no checkpoint of heartseg; remove it, or name another output folder")
    return state


def _comment(checksum: str) -> bytes:
    """Of an archive whose checksum is this while it has none: its length and the comment."""
    comment = MARK + checksum.encode()
    return len(comment).to_bytes(2, "little") + comment


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file, or, where the file system knows no such thing, a copy."""
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def flush_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk, on systems that can say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
