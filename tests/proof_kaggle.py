"""Proof that a kernel runs in an empty environment, from push to pull, and resumes. ``make proof`` runs it.

Two kernels are pushed to a stub of the service. Their scripts run in an empty virtual environment, which they fill
from the package index; the second, in two processes, resumes the output of the first. No file stays behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kaggle_stub
from kaggle_round import KERNEL, attach_phantoms, quick, run_pushed, serve_outputs

BUNDLE, NAME = "left_atrium", KERNEL.partition("/")[2]


def command(stub: kaggle_stub.Stub, home: Path, *words: object) -> str:
    """Return the output of a heartseg command, as alice who is signed in at the stub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE_")}
    signed_in = {"HOME": str(home), "KAGGLE_CONFIG_DIR": str(home), "KAGGLE_USERNAME": kaggle_stub.USER}
    environment = {**kept, **stub.environment, **signed_in, "KAGGLE_KEY": kaggle_stub.KEY, "COLUMNS": "200"}
    call = [sys.executable, "-W", "ignore", "-m", "heartseg", "kaggle", *map(str, words)]
    ended = subprocess.run(call, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{words[0]} ended with status {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def kernel(stub: kaggle_stub.Stub, folder: Path, number: int, python: Path, earlier: Path | None) -> Path:
    """Push a kernel for one more epoch than the last, run what was pushed, and serve what it left; its root."""
    root, began = folder / f"kaggle{number}", time.monotonic()
    attach_phantoms(root, cases=8)  # of which two validate, one in each process
    if earlier is not None:
        shutil.copytree(earlier / "working", root / "input" / "notebooks" / "alice" / NAME)
    resume = ["--resume"] if earlier is not None else []
    command(stub, folder, "push", BUNDLE, *quick(BUNDLE, number), "--data", "alice/phantoms", *resume)
    ended = run_pushed(stub, root, python, HEARTSEG_KAGGLE_PROCESSES=str(number))
    if ended.returncode:
        raise SystemExit(f"kernel {number} ended with status {ended.returncode}:\n{ended.stdout[-5000:]}")
    for line in ended.stdout.splitlines():
        if line.startswith("heartseg: ") or ": resumes after epoch" in line:
            print(f"  {line[:150]}")
    serve_outputs(stub, root, ended.stdout)
    print(f"kernel {number}: {time.monotonic() - began:.0f} s", flush=True)
    return root


def main() -> None:
    """Exit with status 1 if a kernel fails, or if the pulled files differ from its outputs."""
    with tempfile.TemporaryDirectory(prefix="heartseg-proof-") as temporary, kaggle_stub.running() as stub:
        folder = Path(temporary)
        subprocess.run([sys.executable, "-m", "venv", folder / "empty"], check=True)
        python, out, earlier = folder / "empty" / "bin" / "python", folder / "run", None
        for number in (1, 2):
            earlier = kernel(stub, folder, number, python, earlier)
            printed = command(stub, folder, "pull", KERNEL, "--out", out).splitlines()
            print("\n".join(printed[-2:]))
            if f"{number} epochs, finished" not in printed[-2]:
                raise SystemExit(f"kernel {number}: not {number} epochs")
            left = {path.name: path.read_bytes() for path in (earlier / "working").glob("*.pt")}
            if left != {path.name: path.read_bytes() for path in out.glob("*.pt")}:
                raise SystemExit(f"kernel {number}: other weights came back")
            if "nothing has changed" not in command(stub, folder, "pull", KERNEL, "--out", out):
                raise SystemExit(f"kernel {number}: a second pull changed something")
        if stub.tunnels:
            raise SystemExit(f"a client wanted to leave this machine: {stub.tunnels}")
    print("two kernels, one after the other, from nothing to verified results")


if __name__ == "__main__":
    main()
