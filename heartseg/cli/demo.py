"""The demonstration: phantoms, a short training, evaluation, masks and a picture."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from heartseg.cli.segmentation import segment_scans
from heartseg.config.bundle_runs import run
from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.command_lines import say_command
from heartseg.data.cases import select_cases
from heartseg.data.files import write_json
from heartseg.errors import InputError
from heartseg.phantoms.writing import write_phantoms

BUNDLE = "left_atrium"
CASES, SEED = 12, 1
MARK = "demo.json"  # what a demo made, a demo may remove


def run_demo(out: Path) -> None:
    """Show the main job on synthetic scans in ``out``: data, run, evaluation, masks.

    A folder that holds an earlier demo is made anew. Raises InputError for one that holds anything else.
    """
    start = time.monotonic()
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a new folder with --out")
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise InputError(f"{out}: holds other files; name a new folder with --out")
    for part in ("run", "evaluation", "masks"):
        shutil.rmtree(out / part, ignore_errors=True)
    write_json(out / MARK, {"cases": CASES, "seed": SEED})

    step(f"1. Draw phantoms:  heartseg phantom {out}/data --cases {CASES} --seed {SEED} --size small")
    data = write_phantoms(out / "data", kind="atrium", cases=CASES, seed=SEED, size="small")

    step(f"2. Train:  heartseg train {BUNDLE} --data {out}/data --overlay demo --out {out}/run")
    learning = time.monotonic()
    begin("training", ["train", "demo"], {"dataset_dir": data, "output_dir": out / "run"})
    learning = time.monotonic() - learning

    step(
        f"3. Judge on the cases that were held out:  heartseg evaluate {BUNDLE} --data {out}/data --run {out}/run "
        f"--split val --overlay demo --out {out}/evaluation"
    )
    weights = out / "run" / "model.pt"
    paths = {"dataset_dir": data, "output_dir": out / "evaluation", "weights": weights}
    begin("evaluating", ["inference", "evaluate", "demo"], paths, split="val")

    scans = data / "imagesTs"
    step(f"4. Segment new scans:  heartseg segment {BUNDLE} {scans} --run {out}/run --overlay demo --out {out}/masks")
    segment_scans(BUNDLE, [scans], out / "masks", weights=weights, overlays=["demo"])

    picture = out / "evaluation" / "pictures" / f"{select_cases(data, 'val', 0, 4, 0)[0]['id']}.png"
    step(f"Done in {(time.monotonic() - start) / 60:.1f} minutes, {learning / 60:.1f} of them learning.")
    print(f"picture (image, truth, mask): {picture}")
    print(f"masks: {out / 'masks'}\nthe run: {out / 'run' / 'run_summary.md'}")


def begin(run_id: str, configs: list[str], paths: dict[str, Path], **values: str) -> None:
    """Run a bundle's configuration, saying the line that does the same."""
    folder = find_bundle(BUNDLE)
    files = config_files(folder, configs[0], configs[1:])
    own = {**{name: str(path.resolve()) for name, path in paths.items()}, **values}
    say_command(folder, run_id, files, own)
    run(folder, run_id, files, own)


def step(text: str) -> None:
    """A headline between the steps."""
    sys.stdout.flush()
    print(f"\n{text}", flush=True)
