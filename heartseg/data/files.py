"""Files that are whole or not there at all, and where they came from."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import heartseg
from heartseg.errors import InputError
from heartseg.networks.weights import licence_of, read_notes

COMMIT_FILE = "COMMIT"  # in the package, where it was packed from a checkout
PARTIAL = ".partial-[0-9]*-*"  # what is being written, or was by a process that was killed meanwhile


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it onto ``path`` when the block ends well, else remove it.

    The suffixes are kept (``mask.nii.gz`` stays a ``.nii.gz``), since writers choose the format by them.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be written ({error.strerror}); name another output folder") from None
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON that any reader accepts: NaN and infinity are refused rather than written."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any, finite: bool = False) -> Any:
    """Return a value as JSON and checkpoints hold it: numbers, text, None, lists and mappings.

    Arrays and tensors become lists, and other objects their text. With ``finite``, numbers that are not finite, which
    JSON does not know, become None.
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
    """Hex digest of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit of the checkout that heartseg runs from or was packed from, with ``-dirty`` for local changes.

    None if it was installed.
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
    """What every result carries: the version, the commit if there is one, and the hash of the weights.

    Beside the hash stands the name of their licence, where one is noted (`heartseg.networks.weights.licence_of`).
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
    """The ids under ``train`` and ``val`` beside weights; empty where nobody wrote them down."""
    notes = read_notes(weights)
    sides = {side: notes.get(side) for side in ("train", "val")}
    return {side: ids for side, ids in sides.items() if isinstance(ids, list) and all(isinstance(i, str) for i in ids)}
