"""Copy the small results of a kernel's last run into a working tree, for a pull request that a workflow opens."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from heartseg.data.files import atomic
from heartseg.errors import InputError
from heartseg.kaggle.manifest import CURVES, MANIFEST, MAX_BYTES, SMALL, WEIGHTS, read_manifest
from heartseg.kaggle.pull import pull
from heartseg.kaggle.score_summary import Run, markdown, origin, title, write_outputs
from heartseg.kaggle.service import Service, owner_and_name
from heartseg.kaggle.waiting import ACTIVE, COMPLETE, NotYetError

LARGEST = 2 * 2**20  # bytes of one file, since git history keeps it permanently
PLAIN_PATH = re.compile(r"[\w-]+(\.[\w-]+)*(/[\w-]+(\.[\w-]+)*)*", re.ASCII)  # no part starts with a dot
DEFAULT_BRANCHES = ("main", "master", "HEAD")  # no pull request starts from these
BODY = "heartseg-sync.md"  # text of the pull request, in the Action's temporary folder


class Synced(NamedTuple):
    """Result of a sync: whether there is a new run, the kernel's status, and the value of the run's key metric."""

    changed: bool
    status: str
    value: float | None = None


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
    """Copy the small results of a complete run to ``results/KERNEL`` in a working tree; print what was done.

    Nothing changes while the kernel runs, or if the working tree has its manifest already. Files of an earlier run
    are removed; other files in the folder stay. git is not called: committing and the pull request are left to the
    caller, in the workflow to an Action.

    In a GitHub Action the step sets the outputs ``changed``, ``dice`` (empty if the key metric is another),
    ``branch``, ``title``, ``run`` (its line in the text) and ``body`` (path of a Markdown file). The job's summary
    shows the scores.

    Args:
        service: the signed-in connection to Kaggle.
        kernel: OWNER/KERNEL.
        results: folder of the working tree.
        branch: branch of the pull request, for the outputs; default ``kaggle/KERNEL``. Neither a default branch nor
            the one that is checked out.
        weights_out: folder for the weights of a new run; they do not enter ``results``.
        wait: wait for a kernel that is still running.
        checkout: the working tree.
        sleep: pauses for seconds.

    Raises:
        InputError: an invalid name, a kernel that failed or was cancelled, the errors of
            `heartseg.kaggle.pull.pull`, a folder that cannot be written.
    """
    name, branch = check_target(kernel, results, branch, checkout)
    folder = Path(checkout, results, name)
    status = service.status(kernel).name
    if not wait and status in ACTIVE:
        return _not_yet(kernel, status)
    last = None
    with suppress(InputError):  # there is none, or it cannot be read
        last = Run(read_manifest(folder / MANIFEST), folder)
    with tempfile.TemporaryDirectory(prefix="heartseg-sync-") as temporary:
        if status == COMPLETE and last and _current(service, kernel, last, Path(temporary, MANIFEST)):
            return _unchanged(kernel, folder)
        try:
            pulled = pull(service, kernel, Path(temporary, "run"), wait=wait, sleep=sleep)
        except NotYetError:  # another run has started meanwhile
            return _not_yet(kernel, "RUNNING")
        run = Run(pulled.manifest, pulled.folder)
        if last and last.manifest == run.manifest:
            return _unchanged(kernel, folder)
        subject = title(run, last)
        sizes = {file: run.manifest["files"].get(file, {}).get("size", 0) for file in SMALL}
        large = [file for file, size in sizes.items() if size > LARGEST]
        curves = _address(branch, f"{results}/{name}/{CURVES}") if (run.folder / CURVES).is_file() else None
        text = markdown(kernel, run, last, None if CURVES in large else curves, large)
        if weights_out is not None:
            _replace(run.folder, Path(weights_out), WEIGHTS)
        _replace(run.folder, folder, [file for file in (*SMALL, MANIFEST) if file not in large])  # the manifest last
    for file in large:
        (folder / file).unlink(missing_ok=True)
        print(f"{file}: is over {LARGEST // 2**20} MiB and stays out of the repository")
    metric, value = run.score()
    dice = f"{value:.4f}" if metric and metric.name == "dice" and value is not None else ""
    outputs = {"changed": "true", "dice": dice, "branch": branch, "title": subject, "run": origin(run)}
    if "GITHUB_OUTPUT" in os.environ:
        body = Path(os.environ.get("RUNNER_TEMP") or tempfile.gettempdir(), BODY)
        body.write_text(text, encoding="utf-8")
        outputs["body"] = str(body)
    write_outputs(outputs, text)
    print(f"{folder}: {subject}")
    return Synced(True, COMPLETE, value)


def check_target(
    kernel: str, results: str = "results", branch: str | None = None, checkout: str | os.PathLike[str] = "."
) -> tuple[str, str]:
    """Return the name of a kernel and the branch of its pull request; the arguments are those of `sync`.

    Raises InputError for an invalid name, and for a branch that is a default branch or checked out.
    """
    if not kernel:
        raise InputError("kernel: is empty; give OWNER/KERNEL, in the Action as the variable KAGGLE_KERNEL")
    _, name = owner_and_name(kernel)
    named, branch = branch, branch or f"kaggle/{name}"
    for option, text in (("results", results), ("branch", branch)):
        if not PLAIN_PATH.fullmatch(text):
            raise InputError(f"--{option} {text}: is not a plain name; use letters, digits and slashes, as in a/b")
    if named and (plain := named.removeprefix("refs/heads/")) in (*DEFAULT_BRANCHES, _checked_out(Path(checkout))):
        fault = "is a default branch" if plain in DEFAULT_BRANCHES else "is checked out"
        raise InputError(f"--branch {branch}: {fault}, and a sync replaces its branch; use another name")
    return name, branch


def _checked_out(checkout: Path) -> str | None:
    """Return the branch that is checked out in a working tree; None if there is none, or no git checkout."""
    for folder in (checkout.absolute(), *checkout.absolute().parents):
        git = folder / ".git"
        with suppress(OSError, UnicodeDecodeError):
            if git.is_file():  # of a worktree or submodule
                git = folder / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            head = (git / "HEAD").read_text(encoding="utf-8").strip()
            return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None
    return None


def _not_yet(kernel: str, status: str) -> Synced:
    print(f"{kernel}: is {status}; nothing to sync yet")
    write_outputs({"changed": "false"})
    return Synced(False, status)


def _unchanged(kernel: str, folder: Path) -> Synced:
    print(f"{kernel}: nothing changed, {folder} has this run")
    write_outputs({"changed": "false"})
    return Synced(False, COMPLETE)


def _current(service: Service, kernel: str, last: Run, copy: Path) -> bool:
    """Return whether a complete kernel's manifest is the one of the last run, downloading only the manifest."""
    url = service.outputs(kernel)[0].get(MANIFEST)
    if url is None:
        return False
    service.download(url, copy, MAX_BYTES)
    return read_manifest(copy) == last.manifest


def _address(branch: str, path: str) -> str | None:
    """Return the address of a file of a branch on GitHub, in an Action; None elsewhere, where it is not known."""
    repository = os.environ.get("GITHUB_REPOSITORY")
    server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
    return f"{server}/{repository}/raw/{branch}/{path}" if repository else None


def _replace(run: Path, out: Path, names: tuple[str, ...] | list[str]) -> None:
    """Copy the named files of a run to a folder; remove those that the run does not have."""
    for name in names:
        if (run / name).is_file():
            with atomic(out / name) as temporary:
                shutil.copyfile(run / name, temporary)
        else:
            (out / name).unlink(missing_ok=True)
