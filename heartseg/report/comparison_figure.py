"""Figure of two evaluations of the same cases, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from heartseg.report.figures import GREEN, VERMILION, legend_below, line_handles
from heartseg.results.comparison import compared_metric
from heartseg.results.evaluation_files import RESULTS


def draw_comparison(comparison: Mapping[str, Any], metric: str | None = None) -> Figure:
    """Draw a line from A to B for each counted case and condition, and the means as bars.

    Args:
        comparison: see `heartseg.results.comparison.compare_evaluations`.
        metric: name of a metric; None for the first.

    Raises InputError for a metric that was not compared.
    """
    shown = compared_metric(comparison, metric)
    conditions = comparison["conditions"]
    figure = Figure(figsize=(max(5.0, 1.2 * len(conditions) + 1.5), 4.5), layout="constrained")
    axes = figure.subplots()
    for place, condition in enumerate(conditions.values()):
        x = [place - 0.2, place + 0.2]
        for pair in condition["pairs"]:
            a, b = pair["a"][shown.name], pair["b"][shown.name]
            if pair["counted"] and a is not None and b is not None:
                better = a > b if shown.lower_is_better else b > a
                colour = "0.6" if a == b else GREEN if better else VERMILION
                axes.plot(x, [a, b], "o-", color=colour, markersize=3.5, linewidth=1.1, alpha=0.75)
        row = condition["metrics"][shown.name]
        if row["n"]:
            axes.hlines([row["mean_a"], row["mean_b"]], [v - 0.12 for v in x], [v + 0.12 for v in x], "black", lw=2.2)
    places = range(len(conditions))
    axes.set_xticks([place + side for place in places for side in (-0.2, 0.2)], ["A", "B"] * len(conditions))
    axes.set(ylabel=shown.title, xlim=(-0.6, len(conditions) - 0.4))
    axes.grid(axis="y", alpha=0.25)
    names = axes.secondary_xaxis("top")
    names.set_xticks(places, [name.replace("_", "\n") for name in conditions])
    names.tick_params(length=0)
    colours = {"B better": GREEN, "B worse": VERMILION, "equal": "0.6"}
    styles: dict[str, Any] = {label: {"color": c, "marker": "o", "markersize": 3.5} for label, c in colours.items()}
    legend_below(figure, line_handles({**styles, "mean": {"color": "black", "linewidth": 2.2}}))
    titles = (f"{side.upper()}: {_shortened(comparison[side]['file'])}" for side in ("a", "b"))
    figure.suptitle("\n".join(titles), fontsize=9)
    return figure


def _shortened(file: str) -> str:
    """Return the end of a path, short enough for a title."""
    path = Path(file)
    text = str(path.parent if path.name == RESULTS else path)
    return text if len(text) <= 60 else f"...{text[-57:]}"
