"""Check that killed runs resume exactly: they give the result of an uninterrupted run. ``make proof`` runs it.

Each run is killed with kill -9 up to three times: at a random moment, or at a random one of its writes while the file
is half-written. Then the same command is given until it ends. Runs have 0 and 2 workers by turns; the run that they
are compared with has none. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from every_bundle import NAMES, options, phantom, small
from faults import outcome, start, wait, when

KILLS = 3  # of a run, at most


def command(bundle: str, data: Path, out: Path, workers: int = 0, epochs: int = 6, **settings: object) -> list[object]:
    """Return the command that trains a bundle for a moment, with a validation after every second epoch and the last."""
    settings = {**small(bundle, "train"), "val_interval": 2, "num_workers": workers, "epochs": epochs, **settings}
    return ["train", bundle, "--data", data, "--overlay", "quick", *options(settings), "--out", out]


def warm_up() -> None:
    """Import and load what a training needs, so that a forked one starts at once."""
    import matplotlib.pyplot as plt

    import heartseg.cli.app
    import heartseg.handlers
    import heartseg.report  # noqa: F401

    figure = plt.figure()
    figure.text(0, 0, "fonts")
    figure.canvas.draw()
    plt.close(figure)


def writes(run: Path) -> bool:
    """Return whether a checkpoint or weights are half-written at this moment."""
    return any(path.suffix == ".pt" for path in run.glob(".partial-*"))


def survive(words: list[object], run: Path, log: Path, seconds: float, chance: random.Random) -> str:
    """Train with kills; return in words when they came. A whole training takes some seconds, as measured."""
    moments = []
    for attempt in range(KILLS + 1):
        child = start(words, log)
        if attempt < KILLS:
            moment = chance.uniform(0.05, 0.9) * seconds
            until, in_write = time.monotonic() + moment, chance.random() < 0.5

            def ready(until: float = until, in_write: bool = in_write) -> bool:
                return time.monotonic() >= until and (not in_write or writes(run))

            if when(child, ready):
                os.kill(child, signal.SIGKILL)
                moments.append(f"{moment:.1f} s" + (", writing" if in_write else ""))
        status = wait(child)
        if status == 0:
            return "; ".join(moments)
        if status != -signal.SIGKILL:
            raise SystemExit(f"a run ended with status {status}:\n{log.read_text(encoding='utf-8')[-3000:]}")
    raise SystemExit("a run did not end")


def prove(bundle: str, runs: int, folder: Path, chance: random.Random) -> int:
    """Train once without and several times with kills, and say of each whether it ended the same; how many did not."""
    from heartseg.phantoms.writing import write_phantoms

    data = write_phantoms(folder / "data", kind=phantom(bundle), cases=4, seed=1, size="small")
    began = time.monotonic()
    status = wait(start(command(bundle, data, folder / "whole"), folder / "whole.log"))
    seconds = time.monotonic() - began
    if status:
        raise SystemExit((folder / "whole.log").read_text(encoding="utf-8")[-3000:])
    wanted = outcome(folder / "whole")
    print(f"{bundle}: 6 epochs, {seconds:.0f} s without a kill", flush=True)
    print(f"{'run':>4} {'workers':>7} {'seconds':>7}  {'outcome':<10} killed after", flush=True)
    failed = 0
    for number in range(1, runs + 1):
        run, workers, moments = folder / f"run{number}", 2 * (number % 2), ""
        while not moments:  # one that ended before it was killed proves nothing, but how long a training takes now
            shutil.rmtree(run, ignore_errors=True)
            began = time.monotonic()
            moments = survive(command(bundle, data, run, workers), run, folder / f"run{number}.log", seconds, chance)
            seconds = seconds if moments else time.monotonic() - began
        found = outcome(run)
        other = [name for name in wanted if found[name] != wanted[name]]
        failed += bool(other)
        said = f"OTHER {', '.join(other)}" if other else "the same"
        print(f"{number:>4} {workers:>7} {time.monotonic() - began:>7.0f}  {said:<10} {moments}", flush=True)
        shutil.rmtree(run)
    print(f"{bundle}: {runs - failed} of {runs} end with equal weights, moments, history and best file", flush=True)
    return failed


def main() -> None:
    """Status 1 where a run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--runs", type=int, default=15, help="of each bundle that are killed")
    parser.add_argument("--bundle", action="append", choices=NAMES, help="default: all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments; default: the time")
    given = parser.parse_args()
    warm_up()
    began = time.monotonic()
    print(f"seed {given.seed}", flush=True)
    failed = 0
    for bundle in given.bundle or NAMES:
        with tempfile.TemporaryDirectory(prefix="heartseg-proof-") as folder:
            failed += prove(bundle, given.runs, Path(folder), random.Random(given.seed))
    print(f"{(time.monotonic() - began) / 60:.0f} minutes", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
