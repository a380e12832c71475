"""A kernel's round trip: run what the stub received in faked Kaggle folders, and serve the outputs again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from every_bundle import options, small
from kaggle_stub import Stub

from heartseg.phantoms.writing import write_phantoms

KERNEL = "alice/heartseg-left-atrium"


def quick(bundle: str, epochs: int) -> list[str]:
    """Return options for a training of a few seconds."""
    return ["--overlay", "quick", *options({**small(bundle, "train"), "epochs": epochs})]


def attach_phantoms(root: Path, cases: int = 4) -> None:
    """Mount alice/phantoms, a small data set, as Kaggle does."""
    write_phantoms(root / "input" / "datasets" / "alice" / "phantoms" / "data", cases=cases, seed=1, size="small")


def run_pushed(stub: Stub, root: Path, python: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script that was pushed last, as Kaggle does, with its folders in ``root``; its log goes to stdout.

    It finds only its own copy of heartseg: the process starts without the checkout.
    """
    script = root / "script.py"
    script.write_text(stub.pushed[-1]["text"], encoding="utf-8")
    hidden = {*stub.environment, "PYTHONPATH"}
    clean = {name: value for name, value in os.environ.items() if name not in hidden and not name.startswith("KAGGLE_")}
    return subprocess.run(
        [python, script],
        cwd=root,
        env={**clean, "HEARTSEG_KAGGLE_ROOT": str(root), "PYTHONWARNINGS": "ignore", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )


def serve_outputs(stub: Stub, root: Path, log: str) -> None:
    """Serve the files of ``root/working`` as the output of the kernel's last run."""
    working = root / "working"
    paths = [path for path in sorted(working.rglob("*")) if path.is_file()]
    stub.serve({path.relative_to(working).as_posix(): path.read_bytes() for path in paths})
    stub.log, stub.statuses = log, ["COMPLETE"]
