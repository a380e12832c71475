"""An evaluation's results as tables: for other programs, and for the terminal."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from heartseg.data.files import atomic

DIGITS = {"dice": 4, "hd95": 2, "assd": 2, "nsd": 4}
VOLUMES = ("pred_ml", "truth_ml")


def write_table(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, whole or not at all."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def print_table(clean: Mapping[str, Any]) -> None:
    """The table of an evaluation, for the terminal. Several classes, and phases, have lines of their own."""
    over, phases = clean["averaged_over"], clean.get("phases", {})
    table = Table(title="Cases on their own grids (distances in mm)", caption=nominal_note(over))
    table.padding = (0, 0) if phases else (0, 1)  # names of frames are long, and terminals may have 80 columns
    names = ("case", "phase") if phases else ("case",)
    for column in (*names, "seen", "Dice", "HD95", "ASSD", "NSD", "mask mL", "truth mL"):
        table.add_column(column, justify="left" if column in names else "right")

    def add(
        name: str, seen: bool, part: Mapping[str, Any], volumes: Mapping[str, Any], phase: str | None = None
    ) -> None:
        row = [name, *([phase or ""] if phases else []), "yes" if seen else ""]
        table.add_row(*row, *_cells(part), *("" if volumes[key] is None else f"{volumes[key]:.1f}" for key in VOLUMES))

    nothing = dict.fromkeys(VOLUMES)
    for case in clean["cases"]:
        whole = {key: sum(row[key] for row in case["classes"].values()) for key in VOLUMES}
        add(case["id"], case["seen"], case, whole, case.get("phase"))
    table.add_section()
    words = {True: "seen", False: "unseen", None: "(seen or not: unknown)"}
    means = {f"mean of {over['cases']} {words[over['seen']]}": clean, **{f"of these at {p}": phases[p] for p in phases}}
    for name, part in means.items():
        add(name, False, part, nothing)
        for label, row in part["classes"].items() if len(clean["classes"]) > 1 else ():
            add(f"  {label}", False, row, row)
    if "seen" in clean:
        add("mean of the seen", True, clean["seen"], nothing)
    Console().print(table)


def nominal_note(over: Mapping[str, Any]) -> str | None:
    """A line below a table of means, from their ``averaged_over``, where the voxels' size is nominal."""
    nominal = over.get("nominal")
    return (
        f"mm and mL of {nominal} of {over['cases']} cases are nominal: the true voxel size is lost" if nominal else None
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    return ["missing" if row[m] is None else f"{row[m]:.{d}f}" for m, d in DIGITS.items()]
