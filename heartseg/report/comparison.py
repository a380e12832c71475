"""Two evaluations of the same cases, compared case by case."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.table import Table

from heartseg.data.files import atomic, write_json
from heartseg.errors import InputError
from heartseg.handlers.cases import RESULTS
from heartseg.handlers.robustness import cases_in_words
from heartseg.metrics.paired import ENOUGH, paired_test
from heartseg.report.evaluations import COMPARED, artifacts_of
from heartseg.report.figures import GREEN, VERMILION, save

NAMES = dict(zip(COMPARED, ("Dice", "HD95 in mm", "ASSD in mm", "NSD"), strict=True))
LOWER_IS_BETTER = ("hd95", "assd")
MADE_BY = ("strengths", "settings")  # of an artifact


def compare_evaluations(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two evaluations, as `heartseg.report.evaluations.read_evaluation` gives them.

    Cases are paired by id, clean and under every artifact that both have, each artifact at the severity that
    stands for it. As in an evaluation, cases that trained either's weights are counted only where there are no
    others.

    Returns:
        ``a`` and ``b``: ``file`` and ``provenance``. ``cases``: ids in ``common``, ``only_a`` and ``only_b``.
        ``averaged_over``: how many ``cases``, and whether ``seen`` (null: unknown). ``notes``: what to bear in mind.
        ``conditions``: for each its ``strengths`` and ``settings`` in a and b, its ``pairs``, and its ``metrics``:
        what `heartseg.metrics.paired.paired_test` gives, with ``better`` and ``worse`` (in how many cases b is)
        for its ``higher`` and ``lower``.

    Raises:
        InputError: no case in common.
    """
    seen = [{case["id"]: case.get("seen") for case in part["clean"]["cases"]} for part in (a, b)]
    common = [identity for identity in seen[0] if identity in seen[1]]
    if not common:
        raise InputError(f"{a['file']} and {b['file']}: have no case in common; evaluate both on the same data")
    unseen = [identity for identity in common if not any(side[identity] for side in seen)]
    unknown = any(side[identity] is None for identity in unseen for side in seen)
    cases = {
        "common": common,
        "only_a": [identity for identity in seen[0] if identity not in seen[1]],
        "only_b": [identity for identity in seen[1] if identity not in seen[0]],
    }
    names = ["clean", *(name for name in artifacts_of(a) if name in artifacts_of(b))]
    result = {
        "a": {"file": a["file"], "provenance": a.get("provenance")},
        "b": {"file": b["file"], "provenance": b.get("provenance")},
        "cases": cases,
        "averaged_over": {"cases": len(unseen or common), "seen": None if unknown else not unseen},
        "conditions": {name: _condition(a[name], b[name], common, unseen or common) for name in names},
    }
    return {**result, "notes": _notes(a, b, result)}


def _condition(
    a: Mapping[str, Any], b: Mapping[str, Any], common: Sequence[str], counted: Sequence[str]
) -> dict[str, Any]:
    one, other = ({case["id"]: case for case in part["cases"]} for part in (a, b))
    pairs: list[dict[str, Any]] = [
        {
            "id": identity,
            "counted": identity in counted,
            "a": {metric: one[identity][metric] for metric in COMPARED},
            "b": {metric: other[identity][metric] for metric in COMPARED},
        }
        for identity in common
        if identity in one and identity in other
    ]
    metrics = {}
    for metric in COMPARED:
        series = [[pair[side][metric] for pair in pairs if pair["counted"]] for side in ("a", "b")]
        found = paired_test(*series)
        higher, lower = found.pop("higher"), found.pop("lower")
        better, worse = (lower, higher) if metric in LOWER_IS_BETTER else (higher, lower)
        metrics[metric] = {**found, "better": better, "worse": worse}
    made = {key: {"a": a.get(key), "b": b.get(key)} for key in MADE_BY}
    return {**made, "metrics": metrics, "pairs": pairs}


def _notes(a: Mapping[str, Any], b: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    notes = []
    cases, counted = result["cases"], result["averaged_over"]["cases"]
    for side in ("a", "b"):
        if only := cases[f"only_{side}"]:
            notes.append(f"only in {side.upper()}, left out: {', '.join(only)}")
    if result["averaged_over"]["seen"]:
        notes.append("all these cases trained the weights of A or of B: the figures flatter")
    elif counted < len(cases["common"]):
        notes.append(f"{len(cases['common']) - counted} cases that trained the weights of A or of B are left out")
    for name, condition in result["conditions"].items():
        told = [_strengths(condition["strengths"][side]) for side in ("a", "b")]
        if told[0] != told[1]:
            notes.append(f"{name}: {told[0]} in A, {told[1]} in B")
        settings = condition["settings"]
        for key in {**(settings["a"] or {}), **(settings["b"] or {})}:
            told = [_setting(settings[side], key) for side in ("a", "b")]
            if told[0] != told[1]:
                notes.append(f"{name}: {key} {told[0]} in A, {told[1]} in B")
    own, others = ({case["id"]: _truth(case) for case in part["clean"]["cases"]} for part in (a, b))
    if other := [identity for identity in cases["common"] if own[identity] != others[identity]]:
        notes.append(f"the truth has another volume in A than in B: {', '.join(other)}: are these the same data?")
    sources = [part.get("provenance") or {} for part in (a, b)]
    seeds = [_setting(source if "seed" in source else None, "seed") for source in sources]
    if seeds[0] != seeds[1] and (drawn := [name for name in result["conditions"] if name != "clean"]):
        notes.append(f"seed {seeds[0]} in A, {seeds[1]} in B: other places and moments of {', '.join(drawn)}")
    tolerances = [source.get("tolerance_mm") for source in sources]
    if tolerances[0] != tolerances[1]:
        notes.append(f"NSD is at {tolerances[0]} mm in A, at {tolerances[1]} mm in B: do not compare it")
    return notes


def _strengths(strengths: Mapping[str, float] | None) -> str:
    return ", ".join(f"{name} {value:.9g}" for name, value in (strengths or {}).items()) or "unknown"


def _setting(settings: Mapping[str, Any] | None, name: str) -> str:
    """A setting as it is written in YAML, and whether there is one."""
    if settings is None:
        return "unknown"
    return json.dumps(settings[name]) if name in settings else "not set"


def _truth(case: Mapping[str, Any]) -> dict[str, Any]:
    classes = case.get("classes")
    return {name: row.get("truth_ml") for name, row in classes.items()} if isinstance(classes, dict) else {}


def write_comparison(comparison: Mapping[str, Any], metric: str, output_dir: str | os.PathLike[str]) -> None:
    """Write ``comparison.json``, ``.csv`` (a row for each condition, case and metric) and ``.png`` (one metric).

    Raises InputError as `check_metric`.
    """
    figure = draw_comparison(comparison, metric)
    folder = Path(output_dir)
    write_json(folder / "comparison.json", comparison)
    with atomic(folder / "comparison.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["condition", "id", "counted", "metric", "a", "b"])
        for name, condition in comparison["conditions"].items():
            for pair in condition["pairs"]:
                for each in COMPARED:
                    table.writerow([name, pair["id"], pair["counted"], each, pair["a"][each], pair["b"][each]])
    save(figure, folder / "comparison.png")


def check_metric(metric: str) -> None:
    """Raise InputError, with the nearest name there is, for a metric that is not compared."""
    if metric not in COMPARED:
        near = get_close_matches(metric, COMPARED, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(COMPARED)}"
        raise InputError(f"metric {metric}: is not compared; {hint}")


def print_comparison(comparison: Mapping[str, Any], metric: str = "dice") -> None:
    """The table of one metric and what to bear in mind, for the terminal. Raises InputError as `check_metric`."""
    check_metric(metric)
    digits = 2 if metric in LOWER_IS_BETTER else 4
    table = Table(title=f"{NAMES[metric]} of {cases_in_words(comparison['averaged_over'])}")
    table.add_column("condition")
    for column in ("n", "A", "B", "B - A", "p", "B better", "B worse"):
        table.add_column(column, justify="right")
    rows = {name: condition["metrics"][metric] for name, condition in comparison["conditions"].items()}
    for name, row in rows.items():
        means = [_number(row[key], f".{digits}f") for key in ("mean_a", "mean_b")]
        difference, p = _number(row["mean_difference"], f"+.{digits}f"), _number(row["p"], ".3g")
        made = {key: comparison["conditions"][name][key] for key in MADE_BY}
        differ = [key for key, sides in made.items() if (sides["a"] or {}) != (sides["b"] or {})]
        mark = f" ({' and '.join(differ)} differ)" if differ else ""
        table.add_row(name + mark, str(row["n"]), *means, difference, p, str(row["better"]), str(row["worse"]))
    notes = ["p: Wilcoxon's signed-rank test, two-sided, not corrected for the number of rows", *comparison["notes"]]
    if few := [name for name, row in rows.items() if row["better"] + row["worse"] < ENOUGH]:
        where = "everywhere" if len(few) == len(rows) else ", ".join(few)
        notes.append(f"fewer than {ENOUGH} pairs differ, so p cannot reach 0.05: {where}")
    if lost := {name: row["missing"] for name, row in rows.items() if row["missing"]}:
        notes.append("pairs without a number, left out: " + ", ".join(f"{name} {n}" for name, n in lost.items()))
    console = Console()
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
    console.print(f"A: {comparison['a']['file']}\nB: {comparison['b']['file']}", **plain)
    console.print(table)
    for note in notes:
        console.print(f"- {note}", **plain)


def draw_comparison(comparison: Mapping[str, Any], metric: str = "dice") -> Figure:
    """Each counted case as a line from A to B, for each condition, and the means as bars. Raises as `check_metric`."""
    check_metric(metric)
    conditions = comparison["conditions"]
    figure = Figure(figsize=(max(5.0, 1.2 * len(conditions) + 1.5), 4.5), layout="constrained")
    axes = figure.subplots()
    for place, condition in enumerate(conditions.values()):
        x = [place - 0.2, place + 0.2]
        for pair in condition["pairs"]:
            a, b = pair["a"][metric], pair["b"][metric]
            if pair["counted"] and a is not None and b is not None:
                better = a > b if metric in LOWER_IS_BETTER else b > a
                colour = "0.6" if a == b else GREEN if better else VERMILION
                axes.plot(x, [a, b], "o-", color=colour, markersize=3.5, linewidth=1.1, alpha=0.75)
        row = condition["metrics"][metric]
        if row["n"]:
            axes.hlines([row["mean_a"], row["mean_b"]], [v - 0.12 for v in x], [v + 0.12 for v in x], "black", lw=2.2)
    places = range(len(conditions))
    axes.set_xticks([place + side for place in places for side in (-0.2, 0.2)], ["A", "B"] * len(conditions))
    axes.set(ylabel=NAMES[metric], xlim=(-0.6, len(conditions) - 0.4))
    axes.grid(axis="y", alpha=0.25)
    names = axes.secondary_xaxis("top")
    names.set_xticks(places, [name.replace("_", "\n") for name in conditions])
    names.tick_params(length=0)
    kinds = {"B better": GREEN, "B worse": VERMILION, "equal": "0.6"}
    handles = [Line2D([], [], color=colour, marker="o", markersize=3.5, label=kind) for kind, colour in kinds.items()]
    handles.append(Line2D([], [], color="black", linewidth=2.2, label="mean"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    titles = (f"{side.upper()}: {_shortened(comparison[side]['file'])}" for side in ("a", "b"))
    figure.suptitle("\n".join(titles), fontsize=9)
    return figure


def _shortened(file: str) -> str:
    """The end of a path that fits above a picture."""
    path = Path(file)
    text = str(path.parent if path.name == RESULTS else path)
    return text if len(text) <= 60 else f"...{text[-57:]}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
