"""The manifest of a kernel's outputs: size and sha256 of each file that may be pulled, and facts on the run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from heartseg.data.files import sha256, write_json
from heartseg.errors import InputError, one_line

MANIFEST = "manifest.json"
MAX_BYTES, MAX_FILES = 2**20, 500  # of a manifest
CURVES = "curves.png"
WEIGHTS = ("model.pt", "model.json", "final.pt", "LICENSE")
SMALL = (  # results that may enter a repository
    CURVES,
    "config.yaml",
    "run_summary.md",
    "run_summary.json",
    "training_metrics.json",
    "evaluation_results.json",
    "evaluation_results.csv",
    "clinical.csv",
    "clinical.json",
)
# The files that may be pulled. A star does not match a slash.
ALLOWED = (*WEIGHTS, *SMALL, "checkpoint.pt", "run.lock", "bland_altman.png", "pictures/*.png", "tensorboard/events.*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def allowed(name: str) -> bool:
    """Return whether a file of this name may be pulled."""
    return any(
        name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) and "/." not in f"/{name}"
        for pattern in ALLOWED
    )


def safe_name(name: Any) -> str:
    """Return a file name that stays in its folder on any system. InputError for any other."""
    path = PureWindowsPath(name if isinstance(name, str) else "")  # knows both separators, and drives
    parts = name.split("/") if isinstance(name, str) else [""]
    if path.drive or path.root or "\\" in str(name) or {"", ".", ".."} & set(parts) or one_line(str(name)) != name:
        raise InputError(f"{name!r}: is not a valid name for a file of a kernel's output; nothing was downloaded")
    return str(name)


def write_manifest(folder: str | os.PathLike[str], about: Mapping[str, Any]) -> Path:
    """Write ``manifest.json`` for the files of a folder that may be pulled.

    Args:
        folder: the outputs of a run.
        about: what else it says of the run: bundle, commit, archive_sha256, heartseg, finished, epochs, minutes,
            started (ISO, UTC), gpus, settings, metric (name of the key metric) and its value under that name.

    Returns:
        The path of the manifest: ``{"files": {name: {"size", "sha256"}}, **about}``, names sorted, size in bytes.
    """
    folder = Path(folder)
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in sorted(_names(folder))
        if allowed(name)
    }
    write_json(folder / MANIFEST, {"files": files, **about})
    return folder / MANIFEST


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a manifest after checking its form.

    Raises:
        InputError: not JSON, too large, no files, a name that leads out of the folder or differs from another only
            in case, or an invalid size or sha256.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        content: Any = json.loads(path.read_bytes()) if size <= MAX_BYTES else None
        files = content["files"]
        entries = [(name, entry["size"], entry["sha256"]) for name, entry in files.items()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        fault = f"has over {MAX_BYTES} bytes and " if size > MAX_BYTES else ""
        raise InputError(f"{path.name}: {fault}is not the manifest of a run; push the kernel again") from None
    if len(entries) > MAX_FILES:
        raise InputError(f"{path.name}: names {len(entries)} files, over {MAX_FILES}; it is not heartseg's")
    seen: set[str] = set()
    for name, size, digest in entries:
        if safe_name(name).casefold() in seen:
            raise InputError(f"{path.name}: names {name} twice, apart from case; push the kernel again")
        seen.add(name.casefold())
        if type(size) is not int or size < 0 or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise InputError(f"{path.name}: the size or sha256 of {name} is invalid; push the kernel again")
    return dict(content)


def verify(folder: str | os.PathLike[str], manifest: Mapping[str, Any]) -> None:
    """Compare files with their manifest. InputError names the first one that is missing or differs."""
    for name, entry in wanted(manifest).items():
        if fault := difference(Path(folder) / name, entry):
            raise InputError(f"{name}: {fault}")


def wanted(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the files of a manifest that may be pulled."""
    return {name: entry for name, entry in manifest["files"].items() if allowed(name)}


def difference(file: Path, entry: Mapping[str, Any]) -> str:
    """Return how a file differs from its entry in a manifest; an empty string if it does not."""
    if file.is_symlink() or not file.is_file():
        return "is missing"
    size = file.stat().st_size
    if size != entry["size"]:
        return f"has {size} bytes instead of the {entry['size']} of the manifest"
    return "" if sha256(file) == entry["sha256"] else "its sha256 differs from the manifest"


def _names(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, without links."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not (Path(place) / name).is_symlink()]
        for name in files:
            if not (Path(place) / name).is_symlink():
                yield str(PurePosixPath((Path(place) / name).relative_to(folder)))
