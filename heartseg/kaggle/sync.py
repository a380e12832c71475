"""Bringing a kernel's results into a repository: a branch on top of the newest main, and a pull request for it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from heartseg.data.files import atomic
from heartseg.errors import InputError
from heartseg.kaggle.manifest import MANIFEST, MAX_BYTES, read_manifest
from heartseg.kaggle.origin import TRAILER, Heads, Origin
from heartseg.kaggle.pull import pull
from heartseg.kaggle.request import address, of_run, open_request
from heartseg.kaggle.score_summary import CURVES, Run, markdown, number, title, write_outputs
from heartseg.kaggle.service import Service, owner_and_name
from heartseg.kaggle.waiting import COMPLETE, GOING, NotYetError

SMALL = (  # what enters the repository, and belongs to the sync there
    MANIFEST,
    CURVES,
    "clinical.csv",
    "clinical.json",
    "config.yaml",
    "evaluation_results.csv",
    "evaluation_results.json",
    "run_summary.json",
    "run_summary.md",
    "training_metrics.json",
)
WEIGHTS = ("model.pt", "model.json", "final.pt", "LICENSE")
LARGEST = 2 * 2**20  # bytes of one file, since a history never forgets
FOLDER = re.compile(r"[\w-]+(\.[\w-]+)*(/[\w-]+(\.[\w-]+)*)*", re.ASCII)  # no part begins with a dot
ATTEMPTS = 3  # where others push at the same moment


class Synced(NamedTuple):
    """What became of a sync: the kernel's status and, of a run that is new, its Dice and what was pushed."""

    changed: bool
    status: str
    branch: str
    dice: float | None = None
    commit: str | None = None


def sync(
    service: Service,
    kernel: str,
    results: str = "results",
    branch: str | None = None,
    weights_out: str | os.PathLike[str] | None = None,
    wait: bool = False,
    checkout: str | os.PathLike[str] = ".",
    sleep: Callable[[float], None] = time.sleep,
) -> Synced:
    """Bring the small results of a finished kernel onto a branch of ``origin``, and open a pull request for it.

    The branch belongs to the sync: it is one commit on top of the newest default branch, made anew for each run, and
    never the default branch itself. The checkout's own branch, index and files stay as they are. A kernel that is
    still running, and one whose manifest the repository holds already, change nothing; this is said.

    In a GitHub Action the step gets the outputs ``changed``, ``dice`` and ``branch``, and its job's summary the scores
    beside those of the run that was synced last. A pull request that cannot be opened undoes nothing: the address
    that opens it is printed, and the next sync tries again.

    Args:
        service: the signed-in door to Kaggle.
        kernel: OWNER/KERNEL.
        results: folder in the repository; the files go to ``results/KERNEL/``.
        branch: default ``kaggle/KERNEL``.
        weights_out: folder for the weights of a run that is new; they never enter the repository.
        wait: wait for a kernel that is still running.
        checkout: a folder in a checkout of the repository.
        sleep: waits so many seconds.

    Raises:
        InputError: a name that is none, no checkout with an ``origin``, a branch that holds commits of others, a kernel
            that failed or was cancelled, whatever `heartseg.kaggle.pull.pull` refuses, a push that was refused.
    """
    if not kernel:
        raise InputError("kernel: none is named; give OWNER/KERNEL, in the Action by the variable KAGGLE_KERNEL")
    _, slug = owner_and_name(kernel)
    if not FOLDER.fullmatch(results):
        raise InputError(f"--results {results}: is no plain folder of the repository, as in results/kaggle")
    folder, branch = f"{results}/{slug}", branch or f"kaggle/{slug}"
    origin = Origin(checkout)
    heads = origin.look(branch)
    state = service.status(kernel).name
    if not wait and state in GOING:
        return _nothing_yet(kernel, state, branch)
    with tempfile.TemporaryDirectory(prefix="heartseg-sync-") as temporary:
        place = Path(temporary)
        held = _held(origin, {heads.main: heads.base, branch: heads.tip}, folder, place)
        offered = _offered(service, kernel, place) if state == COMPLETE else None
        run = next((one for one in held.values() if one.manifest == offered), None)
        if run is None:
            try:
                pulled = pull(service, kernel, place / "run", wait=wait, sleep=sleep)
            except NotYetError:  # another run has begun meanwhile
                return _nothing_yet(kernel, "RUNNING", branch)
            run = Run(pulled.manifest, pulled.folder)
        if same := [name for name, one in held.items() if one.manifest == run.manifest]:
            print(f"{kernel}: nothing changed, {same[0]} holds this run")
            write_outputs({"changed": "false"})
            if heads.main not in same:
                last = held.get(heads.main)
                text = markdown(kernel, run, last, _curves(heads.tip, folder, run))
                body = f"{text}\n{of_run(run.manifest)}\n"
                open_request(checkout, heads, branch, heads.tip, title(run, last), body, renew=False)
            return Synced(False, COMPLETE, branch)
        if weights_out is not None:
            _copy_weights(run.folder, Path(weights_out))
        last = max(held.values(), key=lambda one: str(one.manifest.get("started")), default=None)
        files, large = _small(run.folder)
        subject = title(run, last)
        heads, commit = _publish(origin, heads, branch, folder, files, f"{subject}\n\n{TRAILER}: {kernel}\n", kernel)
        text = markdown(kernel, run, last, _curves(commit, folder, run) if CURVES in files else None, large)
    dice = number(run.manifest.get("dice"))
    print(f"{branch}: {subject}")
    write_outputs({"changed": "true", "dice": "" if dice is None else f"{dice:.4f}", "branch": branch}, text)
    open_request(checkout, heads, branch, commit, subject, f"{text}\n{of_run(run.manifest)}\n")
    return Synced(True, COMPLETE, branch, dice, commit)


def _nothing_yet(kernel: str, state: str, branch: str) -> Synced:
    print(f"{kernel}: is {state}; nothing to bring yet")
    write_outputs({"changed": "false"})
    return Synced(False, state, branch)


def _held(origin: Origin, commits: Mapping[str, str | None], folder: str, copies: Path) -> dict[str, Run]:
    """The run that each branch holds, copied; not of those that hold none, or one that cannot be read."""
    held = {}
    for place, (name, commit) in enumerate(commits.items()):
        copy = copies / f"held-{place}"
        copy.mkdir()
        for file, identity in origin.files(commit, folder).items() if commit else ():
            if file in SMALL:
                (copy / file).write_bytes(origin.read(identity))
        with suppress(InputError):
            held[name] = Run(read_manifest(copy / MANIFEST), copy)
    return held


def _offered(service: Service, kernel: str, place: Path) -> dict[str, Any] | None:
    """The manifest of a finished kernel, before anything else is downloaded; None where there is none."""
    address = service.outputs(kernel)[0].get(MANIFEST)
    if address is None:
        return None
    service.download(address, place / MANIFEST, MAX_BYTES)
    return read_manifest(place / MANIFEST)


def _curves(commit: str | None, folder: str, run: Run) -> str | None:
    """The address of the picture of a run's curves in a commit; None where it has none."""
    return address(f"raw/{commit}/{folder}/{CURVES}") if (run.folder / CURVES).is_file() else None


def _small(run: Path) -> tuple[dict[str, Path], list[str]]:
    """The results of a run that enter the repository, and the names of those that are too large."""
    found = {name: run / name for name in SMALL if (run / name).is_file()}
    large = [name for name, path in found.items() if path.stat().st_size > LARGEST]
    for name in large:
        print(f"{name}: is over {LARGEST // 2**20} MiB and stays out of the repository")
    return {name: path for name, path in found.items() if name not in large}, large


def _publish(
    origin: Origin, heads: Heads, branch: str, folder: str, files: Mapping[str, Path], message: str, kernel: str
) -> tuple[Heads, str]:
    """Push one commit on top of the newest default branch; what it was put on, and its id."""
    for attempt in range(ATTEMPTS):
        if heads.tip and origin.made_for(heads.tip) != kernel:
            remedy = "merge it or name another by --branch"
            raise InputError(f"branch {branch}: its last commit is no sync of {kernel} and would be lost; {remedy}")
        # What else people keep in that folder stays.
        drop = [name for name in origin.files(heads.base, folder) if name in SMALL and name not in files]
        commit = origin.commit(heads.base, folder, files, drop, message)
        try:
            origin.push(commit, branch, heads.tip)
        except InputError:
            before, heads = heads, origin.look(branch)
            if heads == before or attempt == ATTEMPTS - 1:
                raise
        else:
            break
    return heads, commit


def _copy_weights(run: Path, out: Path) -> None:
    """Copy a run's weights; those of another run that lie there go."""
    for name in WEIGHTS:
        if (run / name).is_file():
            with atomic(out / name) as temporary:
                shutil.copyfile(run / name, temporary)
        else:
            (out / name).unlink(missing_ok=True)
