"""Checkpoints that are written atomically, with their checksum inside, and the previous one kept."""

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
from heartseg.errors import InputError, first_line
from heartseg.training.run_folder import MARK

REMEDY = "fix that, and the same command resumes the run"


class DamagedError(InputError):
    """A checkpoint that differs from what was written."""


def save_checkpoint(state: Mapping[str, Any], path: str | os.PathLike[str], keep: str | None = None) -> str:
    """Write a state of tensors and plain values atomically, with its SHA-256; return the SHA-256 of the whole file.

    ``torch.load`` reads it like any other: a checkpoint is a zip archive, and the archive's comment is the checksum of
    the archive without a comment.

    Args:
        state: what ``torch.load(weights_only=True)`` can read.
        path: of the file.
        keep: name in the same folder under which the previous file stays until the next save.

    Raises InputError, with the system's words, if it cannot be written; the previous file stays as it was.
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
        raise InputError(f"{path}: cannot be written ({reason}); {REMEDY}") from None
    return whole.hexdigest()


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a state that `save_checkpoint` wrote, on the CPU.

    Raises DamagedError if the checksum differs from that of what was written, InputError if the file cannot be read.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from None
    at = max(content.rfind(MARK) - 2, 0)
    hashed = hashlib.sha256(memoryview(content)[:at])
    hashed.update(b"\0\0")
    if content[at:] != _comment(hashed.hexdigest()):
        raise DamagedError(f"{path}: is damaged, or not a checkpoint of heartseg; remove it, or use another folder")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of errors here
        raise DamagedError(f"{path}: cannot be loaded ({first_line(error)}); remove it") from None
    if not isinstance(state, dict):
        raise DamagedError(f"{path}: is not a checkpoint of heartseg; remove it, or use another output folder")
    return state


def _comment(checksum: str) -> bytes:
    """Return the end of an archive with this checksum: the length of the comment, and the comment."""
    comment = MARK + checksum.encode()
    return len(comment).to_bytes(2, "little") + comment


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def flush_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk, on systems that support it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
