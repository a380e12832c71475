"""Bringing a kernel's outputs home: complete, verified against their manifest, all of them or none."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from heartseg.data.transfer import disk_errors, progress_bar
from heartseg.errors import InputError, one_line
from heartseg.kaggle.manifest import MANIFEST, MAX_BYTES, difference, read_manifest, wanted
from heartseg.kaggle.service import Service
from heartseg.kaggle.waiting import last_lines, wait_for

RESULTS = "evaluation_results.json"


@dataclass(frozen=True)
class Pulled:
    """What a pull did. ``changed``: it brought, or removed, something; ``folder``: where the files lie."""

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
    """Bring the outputs of a kernel's last run to a folder, and print their scores.

    Only what the manifest names and `heartseg.kaggle.manifest.ALLOWED` allows is brought, and only what is not there
    already. It moves into ``out`` when all of it is verified; what an earlier pull left and this run lacks goes.

    Args:
        service: the signed-in door to Kaggle.
        kernel: OWNER/NAME.
        out: a new folder, an empty one, or one of an earlier pull.
        wait: until the run is complete, rather than refuse.
        minutes: how long to wait.
        sleep: pauses for seconds.

    Raises:
        InputError: the run is not complete (and ``wait`` is False), failed, was cancelled or did not end in time; a
            file is missing, has a bad name or is not what the manifest says; ``out`` holds other things.
    """
    out = Path(out).resolve()
    with disk_errors(out):
        before = _held(out)
    wait_for(service, kernel, wait, minutes, sleep)
    urls, log = service.outputs(kernel)
    if MANIFEST not in urls:
        fault = "left no manifest.json: it is no kernel of heartseg's, or it stopped before its end"
        raise InputError(f"{kernel}: {fault}{last_lines(log, service.redacted)}")
    with disk_errors(out), _fresh(out) as folder:
        service.download(urls[MANIFEST], folder / MANIFEST, MAX_BYTES)
        manifest = read_manifest(folder / MANIFEST)
        faults = {name: difference(out / name, entry) for name, entry in wanted(manifest).items()}
        lacking = {name: manifest["files"][name] for name, fault in faults.items() if fault}
        _bring(service, urls, folder, lacking)
        stale = [name for name in wanted(before) if name not in wanted(manifest)] if before else []
        changed = bool(lacking or stale) or before != manifest
        if changed:
            _into_place(folder, out, list(lacking), stale)
    if before:
        for name in lacking:
            if before["files"].get(name) == manifest["files"][name]:
                _say(f"{name}: {faults[name]}; brought back")
        for name in stale:
            _say(f"{name}: is not of this run; removed")
    print_scores(out, manifest)
    count = f"{len(lacking)} of {len(wanted(manifest))} files"
    print(f"pulled: {out} ({count} were new)" if changed else f"{out}: nothing has changed since the last pull")
    return Pulled(changed, manifest, out)


def print_scores(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Print the table of a run's scores, and a line on the run: commit, epochs, and how to go on if it must."""
    from rich.errors import MarkupError

    from heartseg.results.tables import print_table

    file = folder / RESULTS
    if RESULTS in wanted(manifest):
        try:
            print_table(json.loads(file.read_bytes())["clean"])
        except (ValueError, LookupError, TypeError, AttributeError, MarkupError):
            _say(f"{file}: is not an evaluation's table; nothing of it is shown")
    else:
        _say("the run was not evaluated: there are no scores")
    words = [f"commit {manifest.get('commit') or 'unknown'}", f"{manifest.get('epochs', 'unknown')} epochs"]
    if manifest.get("finished") is True:
        words.append("finished")
    else:
        bundle = str(manifest.get("bundle"))
        bundle = bundle if re.fullmatch(r"\w[\w-]*", bundle, re.ASCII) else "BUNDLE"  # people copy this into a shell
        words.append(f"not finished; go on with: heartseg kaggle push {bundle} --resume")
    print(one_line(", ".join(words)))


def _held(out: Path) -> dict[str, Any] | None:
    """The manifest of an earlier pull; None for a new or empty folder. InputError for any other."""
    if (out / MANIFEST).is_file():
        try:
            return read_manifest(out / MANIFEST)
        except InputError as error:
            raise InputError(f"{out}: {error}, or name another folder") from None
    if out.exists() and (not out.is_dir() or any(not path.match(".partial-*") for path in out.iterdir())):
        raise InputError(f"{out}: holds other things than an earlier pull (no manifest.json); name a new folder")
    return None


@contextmanager
def _fresh(out: Path) -> Iterator[Path]:
    """A new folder on the file system of ``out``: in it, or, where that is still to come, beside it."""
    place, name = (out, "pull") if out.is_dir() else (out.parent, out.name)
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f".partial-[0-9]*-{name}"):
        process = int(left.name.split("-")[1])
        if process != os.getpid() and psutil.pid_exists(process):
            raise InputError(f"{out}: process {process} pulls there; wait for it, or name another folder")
        shutil.rmtree(left, ignore_errors=True)  # by a process that was killed meanwhile
    folder = place / f".partial-{os.getpid()}-{name}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bring(service: Service, urls: Mapping[str, str], folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Download files and compare each with its entry in the manifest."""
    size = sum(entry["size"] for entry in files.values())
    for name in files:
        if name not in urls:
            raise InputError(f"{name}: is in the manifest and not among the outputs; run the kernel again")
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


def _into_place(folder: Path, out: Path, names: list[str], stale: list[str]) -> None:
    """Move verified files into ``out``, the manifest last, and remove what is not of this run."""
    if not out.exists():
        folder.rename(out)
        return
    for name in [*names, *stale]:
        target = out / name
        if target.parent.resolve() != out / Path(name).parent or (target.is_dir() and not target.is_symlink()):
            raise InputError(f"{target}: is a folder, or behind a link; remove it and run again")
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, out / name)
    for name in stale:
        (out / name).unlink(missing_ok=True)
        if (out / name).parent != out and not any((out / name).parent.iterdir()):
            (out / name).parent.rmdir()
    os.replace(folder / MANIFEST, out / MANIFEST)


def _say(line: str) -> None:
    print(one_line(line), file=sys.stderr)
