"""Figure of Dice against the severity of each artifact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heartseg.metrics.table import DICE
from heartseg.report.condition_sheet import COLUMNS
from heartseg.report.figures import BLUE, VERMILION, legend_below, line_handles
from heartseg.results.tables import cases_in_words

MIN_SPAN = 0.05  # of Dice on an axis
MEAN: dict[str, Any] = {"color": BLUE, "marker": "o", "linewidth": 1.8, "markersize": 5, "zorder": 3}
CASE: dict[str, Any] = {"color": "0.75", "linewidth": 0.8, "zorder": 1}
CLEAN: dict[str, Any] = {"color": "0.4", "linestyle": "--", "linewidth": 1, "zorder": 2}


def draw_robustness(results: Mapping[str, Any]) -> Figure:
    """Plot Dice against severity, a panel for each artifact: the mean, its cases, and the value of clean scans.

    Args:
        results: content of the ``evaluation_results.json`` of a robustness evaluation.
    """
    clean = results["clean"]
    artifacts = {name: part for name, part in results.items() if "severities" in part}
    columns = min(COLUMNS, len(artifacts))
    rows = math.ceil(len(artifacts) / columns)
    figure = Figure(figsize=(max(5.0, 2.7 * columns + 0.6), 2.9 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(artifacts) :]:
        axes.set_axis_off()
    for axes, (name, part) in zip(grid.flat, artifacts.items(), strict=False):
        _draw_panel(axes, clean, part["severities"])
        axes.set_title(name.replace("_", " "))
    for axes in grid[:, 0]:
        axes.set_ylabel(DICE.label)
    low, high = grid[0, 0].get_ylim()
    if high - low < MIN_SPAN:  # otherwise a drop of 0.001 looks large
        grid[0, 0].set_ylim((low + high - MIN_SPAN) / 2, (low + high + MIN_SPAN) / 2)
    legend_below(figure, line_handles({"mean": MEAN, "each case": CASE, "clean": CLEAN}))
    figure.suptitle(cases_in_words(clean["averaged_over"]))
    return figure


def _draw_panel(axes: Axes, clean: Mapping[str, Any], severities: Mapping[str, Mapping[str, Any]]) -> None:
    parts = [clean, *severities.values()]
    places = range(len(parts))
    for case in _averaged(clean):
        own = [case_of(part, case["id"])["dice"] for part in parts]
        axes.plot(places, own, **CASE)
    dice = np.array([np.nan if part["dice"] is None else part["dice"] for part in parts], dtype=float)
    axes.axhline(dice[0], **CLEAN)
    axes.plot(places, dice, **MEAN)
    for place, part in enumerate(parts):
        drop = part.get("drop_percent")
        if drop is not None:
            text = "0 %" if abs(drop) < 0.05 else f"{-drop:+.1f} %"
            at: dict[str, Any] = {"xytext": (0, -13), "textcoords": "offset points", "ha": "center", "fontsize": 8.5}
            axes.annotate(text, (place, dice[place]), color=VERMILION, **at)
    names = list(next(iter(severities.values()))["strengths"])
    ticks = [
        f"{level}\n{', '.join(f'{v:g}' for v in part['strengths'].values())}" for level, part in severities.items()
    ]
    axes.set_xticks(list(places), ["clean", *ticks])
    axes.set_xlim(-0.5, len(parts) - 0.5)
    axes.set_xlabel(", ".join(name.replace("_", " ") for name in names))
    axes.margins(y=0.2)
    axes.grid(alpha=0.25)


def _averaged(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cases that the means are taken over."""
    unseen = [case for case in part["cases"] if not case["seen"]]
    return unseen or list(part["cases"])


def case_of(part: Mapping[str, Any], identity: str) -> Mapping[str, Any]:
    """Return the case with this id in a part of the results."""
    return next(case for case in part["cases"] if case["id"] == identity)
