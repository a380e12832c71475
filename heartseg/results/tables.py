"""Tables of results: CSV for other programs, text for the terminal."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from heartseg.data.files import atomic
from heartseg.metrics.table import MM, TABLE, Metric, metrics_in

VOLUMES = {"pred_ml": "mask mL", "truth_ml": "truth mL"}
HEADLINE = "moderate"  # the severity whose numbers represent an artifact
# Options of rich.console.Console and its print that leave text as it is, such as names with [ ].
PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}


def write_table(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, atomically."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def number(value: float | None, form: str, missing: str = "-") -> str:
    """Format a number with ``.4f``, ``+.1f`` and the like, without a minus before zero; ``missing`` for None."""
    if value is None:
        return missing
    digits = re.search(r"(\d+)f$", form)
    return format(round(value, int(digits[1])) + 0.0 if digits else value, form)


def print_table(clean: Mapping[str, Any]) -> None:
    """Print the table of an evaluation. If there are several classes, or phases, each has its own row."""
    over, phases = clean["averaged_over"], clean.get("phases", {})
    metrics = [metric for metric in metrics_in(clean) if metric.shown]
    volumes = [name for name in VOLUMES if any(name in row for row in clean["classes"].values())]
    distances = " on their own grids (distances in mm)" if any(metric.unit == MM for metric in metrics) else ""
    table = Table(title=f"Cases{distances}", caption=nominal_note(over))
    table.padding = (0, 0) if phases else (0, 1)  # frames have long names, and terminals may have 80 columns
    names = ("case", "phase") if phases else ("case",)
    for column in (*names, "seen", *(metric.label for metric in metrics), *(VOLUMES[name] for name in volumes)):
        table.add_column(column, justify="left" if column in names else "right")

    def add(
        name: str, seen: bool, row: Mapping[str, Any], sizes: Mapping[str, Any] | None = None, phase: str | None = None
    ) -> None:
        about = [name, *([phase or ""] if phases else []), "yes" if seen else ""]
        sizes = sizes or {}
        table.add_row(
            *about, *(_cell(row, metric) for metric in metrics), *(_volume(sizes.get(key)) for key in volumes)
        )

    for case in clean["cases"]:
        whole = {key: sum(row[key] for row in case["classes"].values()) for key in volumes}
        add(case["id"], case["seen"], case, whole, case.get("phase"))
    table.add_section()
    words = {True: "seen", False: "unseen", None: "(seen or not: unknown)"}
    means = {f"mean of {over['cases']} {words[over['seen']]}": clean, **{f"of these at {p}": phases[p] for p in phases}}
    for name, part in means.items():
        add(name, False, part)
        for label, row in part["classes"].items() if len(clean["classes"]) > 1 else ():
            add(f"  {label}", False, row, row)
    if "seen" in clean:
        add("mean of the seen", True, clean["seen"])
    Console().print(table)


def print_robustness(results: Mapping[str, Any]) -> None:
    """Print the table of a robustness evaluation, with a row for each artifact."""
    clean = results["clean"]
    artifacts = {name: part for name, part in results.items() if "severities" in part}
    levels = list(next(iter(artifacts.values()))["severities"])
    over, dice, hd95 = clean["averaged_over"], TABLE["dice"], TABLE["hd95"]
    table = Table(title=f"Mean of {cases_in_words(over)} (distances in mm)", caption=nominal_note(over))
    table.add_column("artifact", no_wrap=True)
    for column in (*(f"{dice.label} {level}" for level in levels), "drop %", hd95.label, "missing"):
        table.add_column(column, justify="right")
    table.add_row("clean", *[_cell(clean, dice, "-")] * len(levels), "", _cell(clean, hd95, "-"), _missing(clean))
    table.add_section()
    for name, part in artifacts.items():
        cells = [_cell(part["severities"][level], dice, "-") for level in levels]
        drop = number(part["drop_percent"], ".1f")
        table.add_row(name, *cells, drop, _cell(part, hd95, "-"), _missing(part))
    console = Console()
    console.print(table)
    if len(levels) > 1:
        level = headline(dict.fromkeys(levels))
        console.print(f"drop (of {dice.label}, relative to clean), {hd95.label} and missing distances: {level}")


def headline(severities: Mapping[str, Any]) -> str:
    """Return the severity whose numbers represent an artifact: moderate, or the only one that was evaluated."""
    return HEADLINE if HEADLINE in severities else next(iter(severities))


def cases_in_words(over: Mapping[str, Any], what: str = "case") -> str:
    """Describe the cases (or patients) that a mean was taken over, from ``averaged_over``: ``4 unseen cases``."""
    words = {True: "seen ", False: "unseen ", None: ""}
    unknown = " (seen or not: unknown)" if over["seen"] is None else ""
    count = over[f"{what}s"]
    return f"{count} {words[over['seen']]}{what}{'s' if count != 1 else ''}{unknown}"


def nominal_note(over: Mapping[str, Any]) -> str | None:
    """Return a note for a table, from ``averaged_over``, if voxel sizes are nominal; else None."""
    if not (nominal := over.get("nominal")):
        return None
    return f"mm and mL of {nominal} of {over['cases']} cases are nominal: the true voxel size is lost"


def _cell(row: Mapping[str, Any], metric: Metric, missing: str = "missing") -> str:
    return number(row[metric.name], f".{metric.digits}f", missing) if metric.name in row else ""


def _volume(value: float | None) -> str:
    return number(value, ".1f", "")


def _missing(part: Mapping[str, Any]) -> str:
    return str(part["missing"] or "")
