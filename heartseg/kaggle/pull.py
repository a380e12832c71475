"""Pulling a kernel's outputs: complete, verified against their manifest, all of them or none."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.console import Console

from heartseg.config.command_lines import say
from heartseg.data.transfer import disk_errors, progress_bar
from heartseg.errors import InputError, one_line
from heartseg.kaggle.manifest import MANIFEST, MAX_BYTES, difference, read_manifest, wanted
from heartseg.kaggle.service import Service
from heartseg.kaggle.waiting import last_lines, wait_for

RESULTS = "evaluation_results.json"


class Pulled(NamedTuple):
    """The result of a pull: whether it added or removed files, the manifest, and the folder."""

    changed: bool
    manifest: dict[str, Any]
    folder: Path


def pull(
    service: Service,
    kernel: str,
    out: str | os.PathLike[str],
    wait: bool = False,
    minutes: float = 780,
    sleep: Callable[[float], object] = time.sleep,
) -> Pulled:
    """Download the outputs of a kernel's last run to a folder, and print their scores.

    Only files are downloaded that the manifest names, `heartseg.kaggle.manifest.ALLOWED` allows, and ``out`` lacks.
    They are moved into ``out`` once all are verified; files of an earlier pull that this run lacks are removed.

    Args:
        service: the signed-in connection to Kaggle.
        kernel: OWNER/NAME.
        out: a new folder, an empty one, or one of an earlier pull.
        wait: wait until the run is complete.
        minutes: how long to wait at most.
        sleep: pauses for seconds.

    Raises:
        InputError: the run is not complete (and ``wait`` is False), failed, was cancelled or did not end in time; a
            file is missing, has an invalid name or differs from the manifest; ``out`` holds other files.
    """
    out = Path(out).resolve()
    with disk_errors(out):
        before = _earlier_manifest(out)
    wait_for(service, kernel, wait, minutes, sleep)
    urls, log = service.outputs(kernel)
    if MANIFEST not in urls:
        fault = "left no manifest.json: it is not a kernel of heartseg's, or it was stopped early"
        raise InputError(f"{kernel}: {fault}{last_lines(log, service.redacted)}")
    with disk_errors(out), _temporary_folder(out) as folder:
        service.download(urls[MANIFEST], folder / MANIFEST, MAX_BYTES)
        manifest = read_manifest(folder / MANIFEST)
        faults = {name: difference(out / name, entry) for name, entry in wanted(manifest).items()}
        lacking = {name: manifest["files"][name] for name, fault in faults.items() if fault}
        _download(service, urls, folder, lacking)
        stale = [name for name in wanted(before) if name not in wanted(manifest)] if before else []
        changed = bool(lacking or stale) or before != manifest
        if changed:
            _move_into_place(folder, out, list(lacking), stale)
    if before:
        for name in lacking:
            if before["files"].get(name) == manifest["files"][name]:
                say(f"{name}: {faults[name]}; restored")
        for name in stale:
            say(f"{name}: does not belong to this run; removed")
    print_scores(out, manifest)
    count = f"{len(lacking)} of {len(wanted(manifest))} files"
    print(f"pulled: {out} ({count} were new)" if changed else f"{out}: nothing has changed since the last pull")
    return Pulled(changed, manifest, out)


def print_scores(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Print the table of a run's scores, and a line with its commit, its epochs and how to resume it if unfinished."""
    from rich.errors import MarkupError

    from heartseg.results.tables import print_table

    file = folder / RESULTS
    if RESULTS in wanted(manifest):
        try:
            print_table(json.loads(file.read_bytes())["clean"])
        except (ValueError, LookupError, TypeError, AttributeError, MarkupError):
            say(f"{one_line(str(file))}: is not the table of an evaluation; it is not shown")
    else:
        say("the run was not evaluated: there are no scores")
    words = [f"commit {manifest.get('commit') or 'unknown'}", f"{manifest.get('epochs', 'unknown')} epochs"]
    if manifest.get("finished") is True:
        words.append("finished")
    else:
        bundle = str(manifest.get("bundle"))
        bundle = bundle if re.fullmatch(r"\w[\w-]*", bundle, re.ASCII) else "BUNDLE"  # users copy this into a shell
        words.append(f"not finished; resume with: heartseg kaggle push {bundle} --resume")
    print(one_line(", ".join(words)))


def _earlier_manifest(out: Path) -> dict[str, Any] | None:
    """Return the manifest of an earlier pull; None for a new or empty folder. InputError for any other."""
    if (out / MANIFEST).is_file():
        try:
            return read_manifest(out / MANIFEST)
        except InputError as error:
            raise InputError(f"{out}: {error}, or use another folder") from None
    if out.exists() and (not out.is_dir() or any(not path.match(".partial-*") for path in out.iterdir())):
        raise InputError(f"{out}: holds other files than an earlier pull (no manifest.json); use a new folder")
    return None


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder on the file system of ``out``: in it if it exists, else in its parent."""
    place, name = (out, "pull") if out.is_dir() else (out.parent, out.name)
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f".partial-[0-9]*-{name}"):
        process = int(left.name.split("-")[1])
        if process != os.getpid() and psutil.pid_exists(process):
            raise InputError(f"{out}: process {process} is pulling there; wait for it, or use another folder")
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    folder = place / f".partial-{os.getpid()}-{name}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(service: Service, urls: Mapping[str, str], folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Download files and compare each one with its entry in the manifest."""
    size = sum(entry["size"] for entry in files.values())
    for name in files:
        if name not in urls:
            raise InputError(f"{name}: is in the manifest but not among the outputs; run the kernel again")
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if not files:  # and no empty bar
        return
    before = 0
    with progress_bar("", Console(stderr=True), size) as show:
        for name, entry in files.items():
            progress = partial(_show_file, show, before, name)
            service.download(urls[name], folder / name, entry["size"], progress)
            before += entry["size"]
            if fault := difference(folder / name, entry):
                raise InputError(f"{name}: {fault}; nothing was kept, run again")


def _show_file(show: Callable[..., None], before: int, name: str, done: int, _: int | None) -> None:
    show(before + done, name=name)


def _move_into_place(folder: Path, out: Path, names: list[str], stale: list[str]) -> None:
    """Move verified files into ``out``, the manifest last, and remove files that this run lacks."""
    if not out.exists():
        folder.rename(out)
        return
    for name in [*names, *stale]:
        target = out / name
        if target.parent.resolve() != out / Path(name).parent or (target.is_dir() and not target.is_symlink()):
            raise InputError(f"{target}: is a folder, or reached by a link; remove it and run again")
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, out / name)
    for name in stale:
        (out / name).unlink(missing_ok=True)
        if (out / name).parent != out and not any((out / name).parent.iterdir()):
            (out / name).parent.rmdir()
    os.replace(folder / MANIFEST, out / MANIFEST)
