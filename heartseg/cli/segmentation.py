"""``heartseg segment``: segment scans one by one, with progress, and report those that cannot be segmented."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from heartseg.config.command_lines import say, say_command
from heartseg.data.acdc import PHASES, phase_of
from heartseg.data.files import provenance, writable_folder, write_json
from heartseg.data.scans import list_scans, mask_path, mask_target
from heartseg.errors import InputError, causes, flat, one_line
from heartseg.inference.segmenter import Segmenter
from heartseg.machine import machine_line
from heartseg.results.patient_tables import summarise_patients
from heartseg.results.tables import PLAIN

LARGEST = 1e9  # mL; larger than any scan


def segment_scans(
    bundle: str | os.PathLike[str],
    inputs: Sequence[Path],
    out: Path,
    overwrite: bool = False,
    weights: Path | None = None,
    overlays: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    paths: Mapping[str, Any] | None = None,
) -> int:
    """Segment scans into ``out`` and print the volumes of each; return how many could not be segmented.

    ``out/segmentation.json`` records, for each mask, volumes, the anatomical axes used, seconds and provenance. For
    a bundle that names its ventricles it also records the frame's phase, if Info.cfg gives it, and whether the
    volumes are nominal; ejection fractions are printed at the end, from all of a patient's masks in ``out``, and
    ``out/clinical.csv`` holds the numbers of every patient.

    Raises InputError, before any scan is segmented, for missing or contradictory input.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # each would write all masks
        raise InputError(
            "torchrun: segment runs in one process; start it without torchrun, or run the bundle's inference"
        )
    writable_folder(out)
    scans = [entry["image"] for entry in list_scans(inputs)]
    todo = [scan for scan in scans if not mask_target(scan, out).exists() or overwrite]
    own = {**(paths or {}), **({"weights": str(weights.resolve())} if weights else {}), **(settings or {})}
    if overwrite:
        own["overwrite"] = True
    segmenter = Segmenter(bundle, overlays, {**(settings or {}), "output_dir": str(out.resolve())}, weights)
    phases = {scan: phase_of(scan) for scan in scans} if segmenter.ventricles else {}
    say_command(segmenter.folder, "inference", segmenter.files, own)
    say(machine_line(segmenter.device, segmenter.amp, 0))
    console, errors = Console(**PLAIN), Console(stderr=True, **PLAIN)
    records: dict[str, Any] = _records(out)
    failed = 0
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("scans", total=len(todo))
        for scan in todo:
            progress.update(task, description=Path(scan).name)
            try:
                mask = segmenter(scan, save=True)
            except (ValueError, RuntimeError, MemoryError, OSError) as error:
                # A scan that MONAI or torch cannot process, or that is too large, must not stop the others.
                failed += 1
                if not isinstance(error, InputError):
                    reason = flat(list(causes(error))[-1])  # the original error, not the one that MONAI wraps it in
                    error = InputError(f"{scan}: cannot be segmented ({reason}); open it in a viewer")
                errors.print(f"heartseg: {error}", style="red")
            else:
                target = mask_path(scan, out)
                volumes = ", ".join(f"{name} {millilitres:.1f} mL" for name, millilitres in mask.millilitres.items())
                empty = "" if any(mask.millilitres.values()) else " (nothing found)"
                nominal = " (nominal spacing)" if mask.nominal else ""
                console.print(one_line(f"{target}: {volumes}{empty}{nominal}, {mask.seconds:.1f} s"))
                records[target.name] = {
                    "scan": str(scan),
                    "millilitres": mask.millilitres,  # not rounded, since ejection fractions are computed from them
                    **({"phase": phases[scan], "nominal": mask.nominal} if segmenter.ventricles else {}),
                    "anatomy": mask.anatomy,
                    "seconds": round(mask.seconds, 2),
                    **provenance(segmenter.weights),
                }
                write_json(out / "segmentation.json", records)
            progress.advance(task)
    if segmenter.ventricles:
        there = {name: record for name, record in records.items() if (out / name).is_file()}
        for line in summarise_patients(there, segmenter.ventricles, [mask_path(scan, out).name for scan in scans], out):
            console.print(line)
        for scan in scans:
            if (name := mask_path(scan, out).name) not in records and (out / name).is_file():
                console.print(f"{out / name}: its volumes are unknown, so no ejection fraction; --overwrite redoes it")
    skipped = len(scans) - len(todo)
    parts = [f"{len(todo) - failed} segmented"]
    parts += [f"{skipped} skipped since they have a mask (--overwrite redoes them)"] if skipped else []
    parts += [f"{failed} could not be segmented"] if failed else []
    console.print(", ".join(parts))
    return failed


def _records(out: Path) -> dict[str, Any]:
    """Read the usable records of an earlier ``segmentation.json``; none if there is no such file."""
    try:
        content = json.loads((out / "segmentation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: record for name, record in content.items() if _is_record(record)} if isinstance(content, dict) else {}


def _is_record(record: Any) -> bool:
    """Return whether an entry of a ``segmentation.json``, which may have been edited, has valid volumes."""
    volumes = record.get("millilitres") if isinstance(record, dict) else None
    if not isinstance(volumes, dict) or record.get("phase") not in (None, *PHASES):
        return False
    return all(type(value) in (int, float) and 0 <= value < LARGEST for value in volumes.values())
