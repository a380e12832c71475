"""Compare two evaluations of the same cases, case by case."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from heartseg.data.files import write_json
from heartseg.errors import InputError
from heartseg.metrics.paired_test import ENOUGH, paired_test
from heartseg.metrics.table import TABLE, Metric, find_metric, metrics_in
from heartseg.results.evaluation_files import artifacts_of
from heartseg.results.tables import PLAIN, cases_in_words, number, write_table

MADE_BY = ("strengths", "settings")  # keys that say how an artifact was made


def compare_evaluations(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two evaluations, as `heartseg.results.evaluation_files.read_evaluation` gives them.

    Cases are paired by id, clean and under every artifact that both have, each artifact at its headline severity.
    As in an evaluation, cases used to train either's weights count only if there are no others.

    Returns:
        ``a`` and ``b``: ``file`` and ``provenance``. ``cases``: ids in ``common``, ``only_a`` and ``only_b``.
        ``averaged_over``: number of ``cases``, and whether they were ``seen`` (null: unknown). ``notes``: caveats.
        ``not_paired``: a's and b's means of metrics that not every case has a value of, such as AUROC.
        ``conditions``: for each its ``strengths`` and ``settings`` in a and b, its ``pairs``, and its ``metrics``:
        the result of `heartseg.metrics.paired_test.paired_test`, with ``higher`` and ``lower`` replaced by
        ``better`` and ``worse``, the number of cases in which b is.

    Raises:
        InputError: no case or no metric in common.
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
    every = [case for part in (a, b) for name in names for case in part[name]["cases"]]
    metrics = [metric for metric in TABLE.values() if all(metric.name in case for case in every)]
    known = {*a["clean"], *b["clean"], *(key for case in every for key in case)}
    left_out = [metric for metric in metrics_in(known) if metric not in metrics]
    if not metrics:
        raise InputError(f"{a['file']} and {b['file']}: have no metric in common; evaluate both in the same way")
    result = {
        "a": {"file": a["file"], "provenance": a.get("provenance")},
        "b": {"file": b["file"], "provenance": b.get("provenance")},
        "cases": cases,
        "averaged_over": {"cases": len(unseen or common), "seen": None if unknown else not unseen},
        "conditions": {name: _condition(a[name], b[name], common, unseen or common, metrics) for name in names},
        "not_paired": {m.name: {"a": a["clean"].get(m.name), "b": b["clean"].get(m.name)} for m in left_out},
    }
    return {**result, "notes": _notes(a, b, result)}


def _condition(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    common: Sequence[str],
    counted: Sequence[str],
    compared: Sequence[Metric],
) -> dict[str, Any]:
    one, other = ({case["id"]: case for case in part["cases"]} for part in (a, b))
    pairs: list[dict[str, Any]] = [
        {
            "id": identity,
            "counted": identity in counted,
            "a": {metric.name: one[identity][metric.name] for metric in compared},
            "b": {metric.name: other[identity][metric.name] for metric in compared},
        }
        for identity in common
        if identity in one and identity in other
    ]
    metrics = {}
    for metric in compared:
        series = [[pair[side][metric.name] for pair in pairs if pair["counted"]] for side in ("a", "b")]
        found = paired_test(*series)
        higher, lower = found.pop("higher"), found.pop("lower")
        better, worse = (lower, higher) if metric.lower_is_better else (higher, lower)
        metrics[metric.name] = {**found, "better": better, "worse": worse}
    made = {key: {"a": a.get(key), "b": b.get(key)} for key in MADE_BY}
    return {**made, "metrics": metrics, "pairs": pairs}


def _notes(a: Mapping[str, Any], b: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    notes = []
    cases, counted = result["cases"], result["averaged_over"]["cases"]
    for side in ("a", "b"):
        if only := cases[f"only_{side}"]:
            notes.append(f"only in {side.upper()}, left out: {', '.join(only)}")
    if result["averaged_over"]["seen"]:
        notes.append("all these cases were used to train A or B: the figures are too good")
    elif counted < len(cases["common"]):
        notes.append(f"{len(cases['common']) - counted} cases used to train A or B are left out")
    for name, condition in result["conditions"].items():
        a_value, b_value = (_strengths(condition["strengths"][side]) for side in ("a", "b"))
        if a_value != b_value:
            notes.append(f"{name}: {a_value} in A, {b_value} in B")
        settings = condition["settings"]
        for key in {**(settings["a"] or {}), **(settings["b"] or {})}:
            a_value, b_value = (_setting(settings[side], key) for side in ("a", "b"))
            if a_value != b_value:
                notes.append(f"{name}: {key} {a_value} in A, {b_value} in B")
    a_truth, b_truth = ({case["id"]: _truth_volumes(case) for case in part["clean"]["cases"]} for part in (a, b))
    if differing := [identity for identity in cases["common"] if a_truth[identity] != b_truth[identity]]:
        notes.append(f"the truth's volume differs between A and B: {', '.join(differing)}: is it the same data?")
    sources = [part.get("provenance") or {} for part in (a, b)]
    seeds = [_setting(source if "seed" in source else None, "seed") for source in sources]
    if seeds[0] != seeds[1] and (drawn := [name for name in result["conditions"] if name != "clean"]):
        notes.append(f"seed {seeds[0]} in A, {seeds[1]} in B: different random draws of {', '.join(drawn)}")
    for name, sides in result["not_paired"].items():
        values = [
            f"{value:.{TABLE[name].digits}f} in {side.upper()}" for side, value in sides.items() if value is not None
        ]
        means = f"{', '.join(values)}: " if values else ""
        notes.append(f"{TABLE[name].title}: {means}not compared, since not every case has a value")
    tolerances = [source.get("tolerance_mm") for source in sources]
    if tolerances[0] != tolerances[1]:
        notes.append(f"NSD has a tolerance of {tolerances[0]} mm in A, {tolerances[1]} mm in B: do not compare it")
    return notes


def _strengths(strengths: Mapping[str, float] | None) -> str:
    return ", ".join(f"{name} {value:.9g}" for name, value in (strengths or {}).items()) or "unknown"


def _setting(settings: Mapping[str, Any] | None, name: str) -> str:
    """Return a setting as it is written in YAML, ``not set`` if it is missing, or ``unknown`` without settings."""
    if settings is None:
        return "unknown"
    return json.dumps(settings[name]) if name in settings else "not set"


def _truth_volumes(case: Mapping[str, Any]) -> dict[str, Any]:
    classes = case.get("classes")
    return {name: row.get("truth_ml") for name, row in classes.items()} if isinstance(classes, dict) else {}


def write_comparison(comparison: Mapping[str, Any], output_dir: str | os.PathLike[str]) -> None:
    """Write ``comparison.json`` and ``.csv``, with a row for each condition, case and metric."""
    folder = Path(output_dir)
    write_json(folder / "comparison.json", comparison)
    write_table(
        folder / "comparison.csv",
        ["condition", "id", "counted", "metric", "a", "b"],
        (
            [name, pair["id"], pair["counted"], metric, pair["a"][metric], pair["b"][metric]]
            for name, condition in comparison["conditions"].items()
            for pair in condition["pairs"]
            for metric in condition["metrics"]
        ),
    )


def compared_metric(comparison: Mapping[str, Any], name: str | None = None) -> Metric:
    """Return a metric of a comparison by its name; without a name, the first one there is.

    Raises InputError, with the closest name, for a metric that was not compared.
    """
    compared = comparison["conditions"]["clean"]["metrics"]
    if name in comparison["not_paired"]:
        raise InputError(f"metric {name}: not every case has a value of it to compare; give {' or '.join(compared)}")
    return find_metric(next(iter(compared)) if name is None else name, compared)


def print_comparison(comparison: Mapping[str, Any], metric: str | None = None) -> None:
    """Print the table of one metric and the notes. Raises InputError as `compared_metric` does."""
    shown = compared_metric(comparison, metric)
    table = Table(title=f"{shown.title} of {cases_in_words(comparison['averaged_over'])}")
    table.add_column("condition")
    for column in ("n", "A", "B", "B - A", "p", "B better", "B worse"):
        table.add_column(column, justify="right")
    rows = {name: condition["metrics"][shown.name] for name, condition in comparison["conditions"].items()}
    for name, row in rows.items():
        means = [number(row[key], f".{shown.digits}f") for key in ("mean_a", "mean_b")]
        difference, p = number(row["mean_difference"], f"+.{shown.digits}f"), number(row["p"], ".3g")
        made = {key: comparison["conditions"][name][key] for key in MADE_BY}
        differ = [key for key, sides in made.items() if (sides["a"] or {}) != (sides["b"] or {})]
        mark = f" ({' and '.join(differ)} differ)" if differ else ""
        table.add_row(name + mark, str(row["n"]), *means, difference, p, str(row["better"]), str(row["worse"]))
    notes = ["p: Wilcoxon's signed-rank test, two-sided, not corrected for the number of rows", *comparison["notes"]]
    if few := [name for name, row in rows.items() if row["better"] + row["worse"] < ENOUGH]:
        where = "everywhere" if len(few) == len(rows) else ", ".join(few)
        notes.append(f"fewer than {ENOUGH} pairs differ, so p cannot reach 0.05: {where}")
    if lost := {name: row["missing"] for name, row in rows.items() if row["missing"]}:
        notes.append("pairs without a value, left out: " + ", ".join(f"{name} {n}" for name, n in lost.items()))
    console = Console()
    console.print(f"A: {comparison['a']['file']}\nB: {comparison['b']['file']}", **PLAIN)
    console.print(table)
    for note in notes:
        console.print(f"- {note}", **PLAIN)
