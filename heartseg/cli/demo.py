"""``heartseg demo``: phantoms, a short training, evaluation, masks and a picture."""

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
from heartseg.data.files import writable_folder, write_json
from heartseg.errors import InputError
from heartseg.phantoms.writing import write_phantoms

BUNDLE = "left_atrium"
CASES, SEED = 12, 1
MARK = "demo.json"  # marks a folder that the demo may overwrite


def run_demo(out: Path) -> None:
    """Run the main steps on synthetic scans in ``out``: data, training, evaluation, masks.

    A folder with an earlier demo is replaced. Raises InputError for a folder with other files.
    """
    start = time.monotonic()
    writable_folder(out)
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise InputError(f"{out}: holds other files; use a new folder with --out")
    for part in ("run", "evaluation", "masks"):
        shutil.rmtree(out / part, ignore_errors=True)
    write_json(out / MARK, {"cases": CASES, "seed": SEED})

    headline(f"1. Draw phantoms:  heartseg phantom {out}/data --cases {CASES} --seed {SEED} --size small")
    data = write_phantoms(out / "data", kind="atrium", cases=CASES, seed=SEED, size="small")

    headline(f"2. Train:  heartseg train {BUNDLE} --data {out}/data --overlay demo --out {out}/run")
    training = time.monotonic()
    run_step("training", ["train", "demo"], {"dataset_dir": data, "output_dir": out / "run"})
    training = time.monotonic() - training

    headline(
        f"3. Evaluate on the held-out cases:  heartseg evaluate {BUNDLE} --data {out}/data --run {out}/run "
        f"--split val --overlay demo --out {out}/evaluation"
    )
    weights = out / "run" / "model.pt"
    paths = {"dataset_dir": data, "output_dir": out / "evaluation", "weights": weights}
    run_step("evaluating", ["inference", "evaluate", "demo"], paths, split="val")

    scans = data / "imagesTs"
    headline(
        f"4. Segment new scans:  heartseg segment {BUNDLE} {scans} --run {out}/run --overlay demo --out {out}/masks"
    )
    segment_scans(BUNDLE, [scans], out / "masks", weights=weights, overlays=["demo"])

    picture = out / "evaluation" / "pictures" / f"{select_cases(data, 'val', 0, 4, 0)[0]['id']}.png"
    headline(f"Done in {(time.monotonic() - start) / 60:.1f} minutes, {training / 60:.1f} of them training.")
    print(f"picture (image, truth, mask): {picture}")
    print(f"masks: {out / 'masks'}\nthe run: {out / 'run' / 'run_summary.md'}")


def run_step(run_id: str, configs: list[str], paths: dict[str, Path], **values: str) -> None:
    """Run the bundle's configuration, and print the equivalent command."""
    folder = find_bundle(BUNDLE)
    files = config_files(folder, configs[0], configs[1:])
    own = {**{name: str(path.resolve()) for name, path in paths.items()}, **values}
    say_command(folder, run_id, files, own)
    run(folder, run_id, files, own)


def headline(text: str) -> None:
    """Print the headline of a step."""
    sys.stdout.flush()
    print(f"\n{text}", flush=True)
