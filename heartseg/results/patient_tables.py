"""Patients' numbers as people and other programs read them, and those of a folder of masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heartseg.data.layout import case_id, patient_of
from heartseg.metrics.patients import CHAMBERS, MEASURES, OF_ONE_FRAME, TOLD, Frame, patient_rows
from heartseg.results.tables import write_table

CLINICAL = "clinical.csv"
UNITS = {"ml": "mL", "percent": "%", "g": "g"}
DIGITS = 3  # of numbers in tables: a thousandth of a mL, a g or a percent is less than any voxel
SHOWN = 3  # patients that a line names


def name_of(measure: str) -> str:
    """``LV EDV`` for ``lv_edv_ml``, ``LV mass`` for ``lv_mass_g``."""
    chamber, name, _ = measure.split("_")
    return f"{chamber.upper()} {name if name == 'mass' else name.upper()}"


def unit_of(measure: str, nominal: Sequence[bool] = ()) -> str:
    """The unit of a measure, and whether it is ``nominal`` in some or all of the patients; a ratio is not."""
    unit = UNITS[measure.rpartition("_")[2]]
    if unit == "%" or not any(nominal):
        return unit
    return f"{unit} ({'' if all(nominal) else 'partly '}nominal)"


def write_patients(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV: yes and no, and nothing for None."""
    words = {True: "yes", False: "no", None: ""}
    cells = ([words[v] if isinstance(v, bool | None) else v for v in (row[key] for key in columns)] for row in rows)
    write_table(path, columns, cells)


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its numbers as they are written."""
    return {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in row.items()}


def tell_patients(
    records: Mapping[str, Mapping[str, Any]],
    ventricles: Mapping[str, str],
    masks: Sequence[str],
    output_dir: str | os.PathLike[str],
) -> list[str]:
    """Write ``clinical.csv``, a row for each patient of a folder of masks, and return what to say of some.

    Args:
        records: for each mask's file name its volumes ``millilitres`` by class, ``phase`` and ``nominal``; one
            without the volumes of all ``ventricles`` shows no heart, and is passed over.
        ventricles: as `heartseg.metrics.patients.check_ventricles` returns them.
        masks: names of those whose patients are told of.
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
        write_patients(Path(output_dir) / CLINICAL, rows, [*about, *MEASURES, *OF_ONE_FRAME])
    named = {patient_of(str(case_id(name))) for name in masks}
    return in_lines([row for row in rows if row["patient"] in named])


def in_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each patient whose end-diastole and end-systole are known, and one for all others together."""
    lines, without = [], []
    for row in rows:
        if row["ed"] is None or row["es"] is None:
            without.append(row["patient"])
            continue
        parts = [
            f"{chamber.upper()} EDV {row[f'{chamber}_edv_ml']:.1f} mL, ESV {row[f'{chamber}_esv_ml']:.1f} mL, "
            f"EF {_percent(row[f'{chamber}_ef_percent'])}"
            for chamber in CHAMBERS
        ]
        parts.append(f"myocardium {row['lv_mass_g']:.0f} g{' (nominal spacing)' if row['nominal'] else ''}")
        swapped = row["phases_by"] == TOLD and row["lv_esv_ml"] > row["lv_edv_ml"]
        doubt = f" (the left ventricle is larger at end-systole: are ED and ES swapped in {TOLD}?)" if swapped else ""
        lines.append(f"{row['patient']}: {'; '.join(parts)}{doubt}")
    if without:
        more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
        example = "patient001_frame01 and patient001_frame12"
        told = "no ejection fraction without both end-diastole and end-systole; name a patient's two frames as in"
        lines.append(f"{', '.join(without[:SHOWN])}{more}: {told} {example}")
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"
