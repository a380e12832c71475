"""Tables and lines of patients' clinical numbers, from an evaluation or a folder of masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heartseg.data.layout import case_id, patient_of
from heartseg.metrics.patients import CHAMBERS, FRAME_MEASURES, GIVEN, MEASURES, Frame, patient_rows
from heartseg.results.tables import number, write_table

CLINICAL = "clinical.csv"
UNITS = {"ml": "mL", "percent": "%", "g": "g"}
DIGITS = 3  # of numbers in tables; a thousandth of a mL, g or percent is less than any voxel
MAX_NAMED = 3  # patients listed by name in one line


def measure_title(measure: str) -> str:
    """Return ``LV EDV`` for ``lv_edv_ml``, ``LV mass`` for ``lv_mass_g``."""
    chamber, name, _ = measure.split("_")
    return f"{chamber.upper()} {name if name == 'mass' else name.upper()}"


def measure_unit(measure: str, nominal: Sequence[bool] = ()) -> str:
    """Return the unit of a measure, marked if it is ``nominal`` in some or all patients; ratios never are."""
    unit = UNITS[measure.rpartition("_")[2]]
    if unit == "%" or not any(nominal):
        return unit
    return f"{unit} ({'' if all(nominal) else 'partly '}nominal)"


def write_patients(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV, with yes and no for booleans, and empty cells for None."""
    words = {True: "yes", False: "no", None: ""}
    cells = ([words[v] if isinstance(v, bool | None) else v for v in (row[key] for key in columns)] for row in rows)
    write_table(path, columns, cells)


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its numbers rounded for tables."""
    return {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in row.items()}


def summarise_patients(
    records: Mapping[str, Mapping[str, Any]],
    ventricles: Mapping[str, str],
    masks: Sequence[str],
    output_dir: str | os.PathLike[str],
) -> list[str]:
    """Write ``clinical.csv``, with a row for each patient of a folder of masks, and return lines for some of them.

    Args:
        records: by file name of a mask, its volumes ``millilitres`` by class, ``phase`` and ``nominal``; a record
            without the volumes of all ``ventricles`` is ignored.
        ventricles: as `heartseg.metrics.patients.check_ventricles` returns them.
        masks: file names of the masks whose patients get lines.
        output_dir: the folder.
    """
    frames, nominal = [], set()
    for name, record in records.items():
        identity, volumes = str(case_id(name)), record.get("millilitres", {})
        if set(ventricles.values()) <= set(volumes):
            frames.append(Frame(identity, patient_of(identity), volumes, record.get("phase")))
            nominal |= {patient_of(identity)} if record.get("nominal") else set()
    rows = [{**rounded(row), "nominal": row["patient"] in nominal} for row in patient_rows(frames, ventricles)]
    if rows:
        about = ["patient", "frames", "ed", "es", "phases_by", "nominal"]
        write_patients(Path(output_dir) / CLINICAL, rows, [*about, *MEASURES, *FRAME_MEASURES])
    named = {patient_of(str(case_id(name))) for name in masks}
    return patient_lines([row for row in rows if row["patient"] in named])


def patient_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for each patient with known end-diastole and end-systole, and one for all others."""
    lines, without = [], []
    for row in rows:
        if row["ed"] is None or row["es"] is None:
            without.append(row["patient"])
            continue
        parts = []
        for chamber in CHAMBERS:
            edv, esv, ef = (row[f"{chamber}_{name}"] for name in ("edv_ml", "esv_ml", "ef_percent"))
            percent = "" if ef is None else " %"
            parts.append(f"{chamber.upper()} EDV {edv:.1f} mL, ESV {esv:.1f} mL, EF {number(ef, '.1f')}{percent}")
        parts.append(f"myocardium {row['lv_mass_g']:.0f} g{' (nominal spacing)' if row['nominal'] else ''}")
        swapped = row["phases_by"] == GIVEN and row["lv_esv_ml"] > row["lv_edv_ml"]
        warning = f" (the left ventricle is larger at end-systole: are ED and ES swapped in {GIVEN}?)"
        lines.append(f"{row['patient']}: {'; '.join(parts)}{warning if swapped else ''}")
    if without:
        more = f" and {len(without) - MAX_NAMED} more" if len(without) > MAX_NAMED else ""
        example = "patient001_frame01 and patient001_frame12"
        fault = "no ejection fraction without both end-diastole and end-systole; name a patient's two frames as in"
        lines.append(f"{', '.join(without[:MAX_NAMED])}{more}: {fault} {example}")
    return lines
