"""Atomic writing of files, and the provenance of results."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import heartseg
from heartseg.errors import UNWRITABLE, InputError, UnwritableError
from heartseg.networks.weights import licence_of, read_notes

COMMIT_FILE = "COMMIT"  # in a package that was packed from a checkout
PARTIAL = ".partial-[0-9]*-*"  # files being written, or left behind by a killed process


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` on success, else remove it.

    It keeps the suffixes (``mask.nii.gz`` stays a ``.nii.gz``), by which writers choose the format.

    Raises InputError if the system refuses to write there: UnwritableError for the file, which is an OSError too.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(UnwritableError(path.parent, error))) from None  # callers handle an OSError of the file
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # An error of another file, which the caller reads, is not one of this file.
        own = error.filename is None or Path(str(error.filename)).name == temporary.name
        if isinstance(error, InputError) or not own or error.errno not in UNWRITABLE:
            raise
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give the name of a file") from None
        raise UnwritableError(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def writable_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the path of an output folder, which need not exist; nothing is created.

    Raises InputError if no file could be written there: the folder, or the nearest one above it, is tested.
    """
    folder = Path(folder)
    there = next(place for place in (folder, *folder.parents, Path()) if os.path.lexists(place))
    if not there.is_dir():
        raise InputError(f"{there}: is a file, not a folder; use another output folder")
    try:
        with suppress(FileNotFoundError):
            os.stat(folder)  # refuses a name that is too long
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UnwritableError(folder, error) from None
    return folder


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON that any reader accepts. Raises ValueError for NaN and infinity, which JSON does not know."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any, finite: bool = False) -> Any:
    """Convert a value to what JSON and checkpoints can hold: numbers, strings, None, lists and dictionaries.

    Arrays and tensors become lists, other objects strings. With ``finite``, NaN and infinity become None.
    """
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if not finite or math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item, finite) for key, item in value.items()}
    return [plain(item, finite) for item in value] if isinstance(value, Sequence) else str(value)


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the hex digest of a file, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Return the commit that heartseg runs from or was packed from, with ``-dirty`` for local changes.

    None for an installed package.
    """
    package = Path(heartseg.__file__).parent
    root = package.parent
    if not (root / ".git").exists():
        with suppress(OSError, ValueError):
            return (package / COMMIT_FILE).read_text(encoding="ascii").strip() or None
        return None
    with suppress(OSError, subprocess.SubprocessError):
        call = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(call, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    return None


def provenance(weights: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the provenance that every result carries: versions, commit, and the file name and hash of the weights.

    The weights' licence is named too, if it is known (`heartseg.networks.weights.licence_of`).
    """
    import monai

    source: dict[str, str] | None = None
    if weights is not None and Path(weights).is_file():
        licence = licence_of(weights)
        source = {"file": Path(weights).name, "sha256": sha256(weights)}
        source.update({"licence": licence["name"]} if licence else {})
    return {
        "heartseg": heartseg.__version__,
        "commit": commit(),
        "monai": monai.__version__,
        "torch": torch.__version__,
        "weights": source,
    }


def read_cases_of(weights: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Return the ids of the ``train`` and ``val`` cases recorded with weights; empty if none were recorded."""
    notes = read_notes(weights)
    sides = {side: notes.get(side) for side in ("train", "val")}
    return {side: ids for side, ids in sides.items() if isinstance(ids, list) and all(isinstance(i, str) for i in ids)}
