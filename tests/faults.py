"""Runs that are killed: a training in a process of its own, begun without the seconds that imports take."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import torch

from heartseg.data.files import sha256

PR_SET_PDEATHSIG = 1  # of the system's prctl
VOID = ("minutes",)  # what of a history differs between equal runs


def fork(call: Callable[[], Any], log: Path) -> int:
    """Begin a call in a child, whose output goes to the end of ``log``; its id. The child's status is the call's."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()  # a group of its own, in which a test can look for what is left
        with suppress(AttributeError):  # Linux: it ends with the tests, however they end
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        torch.set_num_threads(1)
        try:
            call()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            status = 1
            try:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            except SystemExit as end:
                status = int(end.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        # As at the end of any Python.
        for worker in multiprocessing.active_children():
            worker.terminate()
            worker.join()
    finally:
        os._exit(status)


def start(arguments: Sequence[object], log: Path, before: Callable[[], None] | None = None) -> int:
    """Begin ``heartseg ARGUMENTS`` in a child, after a call that prepares it; its id."""

    def command() -> None:
        from heartseg.cli.app import main

        if before is not None:
            before()
        sys.argv = ["heartseg", *map(str, arguments)]
        main()

    return fork(command, log)


def monai_bundle(folder: Path, words: Sequence[object], log: Path) -> int:
    """Start ``python -m monai.bundle WORDS`` in a bundle's folder and return the number of the process."""

    def monai() -> None:
        sys.argv = ["monai.bundle", *map(str, words)]
        with chdir(folder):
            runpy.run_module("monai.bundle", run_name="__main__")

    return fork(monai, log)


def forked(call: Callable[[], str], folder: Path) -> str:
    """Return the result of a call in a child, by way of a file in ``folder``; this process is not affected."""
    note = folder / "forked.txt"
    child = fork(lambda: note.write_text(call()), folder / "forked.log")
    status = wait(child)
    assert status == 0, (folder / "forked.log").read_text()
    return note.read_text()


def wait(child: int, seconds: float = 300) -> int:
    """The status of a child, or minus the number of the signal that ended it; killed after ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"process {child} did not end within {seconds} seconds")


def ended(child: int) -> bool:
    """Return whether a child has ended; its status can still be read."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def when(child: int, ready: Callable[[], object], seconds: float = 300) -> bool:
    """Wait until something is ready; False where the child ended before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if ready():
            return True
        if ended(child):
            return False
        time.sleep(0.005)
    raise TimeoutError("nothing was ready")


def children_of(process: int) -> list[int]:
    """Return the processes that a process has started, such as its workers."""
    return [number for number, _, parent, _ in _processes() if parent == process]


def idle_children_of(process: int) -> list[int]:
    """Return those that wait for something: a worker in its loop, which notices when the process ends."""
    return [number for number, state, parent, _ in _processes() if parent == process and state == "S"]


def group_of(child: int) -> list[int]:
    """Return the processes that are left of a child's group."""
    return [number for number, _, _, group in _processes() if group == child]


def _processes() -> list[tuple[int, str, int, int]]:
    """Return number, state, parent and group of every process that has not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, group, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if state != "Z":
            found.append((int(stat.parent.name), state, int(parent), int(group)))
    return found


def outcome(run: Path) -> dict[str, object]:
    """Return what must be equal in two runs: weights and moments to the bit, the history without times, the best."""
    found: dict[str, object] = {}
    for name in ("model.pt", "final.pt"):
        found[name] = _bits(torch.load(run / name, map_location="cpu", weights_only=True))
    last = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    found |= {name: _bits(last["state"][name]) for name in ("network", "ema")}
    found["moments"] = {index: _bits(values) for index, values in last["state"]["optimizer"]["state"].items()}
    found |= {name: last[name] for name in ("best", "epoch", "finished", "scaler")}
    found |= {name: state for name, state in last["state"].items() if name in ("early_stop", "lr_scheduler", "plateau")}
    history = json.loads((run / "training_metrics.json").read_text(encoding="utf-8"))
    found["history"] = [{key: value for key, value in row.items() if key not in VOID} for row in history]
    found["best file"] = sha256(run / "model.pt")
    found["left"] = [path.name for path in run.iterdir() if path.name.startswith(".")]
    return found


def _bits(state: dict[Any, torch.Tensor]) -> dict[Any, bytes]:
    return {name: value.numpy().tobytes() for name, value in state.items()}
