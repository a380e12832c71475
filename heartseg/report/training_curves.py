"""Curves of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from heartseg.metrics.table import Metric
from heartseg.report.figures import BLUE, GREEN, ORANGE, PURPLE, VERMILION


def best_epoch(history: Sequence[Mapping[str, Any]], metric: Metric) -> int | None:
    """Return the first epoch with the best finite value of a metric; None before any validation."""
    key, best = f"val_{metric.name}", min if metric.lower_is_better else max
    known = [row for row in history if row[key] is not None and math.isfinite(row[key])]
    return best(known, key=lambda row: row[key])["epoch"] if known else None


def draw_curves(history: Sequence[Mapping[str, Any]], metric: Metric) -> Figure:
    """Plot losses, key metric and learning rate over the epochs. An empty history gives empty axes.

    Args:
        history: one mapping for each epoch with ``epoch``, ``train_loss``, ``val_loss``, the metric's ``val_<name>``,
            ``learning_rate`` and ``minutes``. None or NaN leaves a gap, which a thin dotted line bridges.
        metric: the key metric.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    losses, score, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in history]
    _line(losses, history, "train_loss", BLUE, "training")
    _line(losses, history, "val_loss", ORANGE, "validation")
    _line(score, history, f"val_{metric.name}", GREEN, "validation")
    _line(rate, history, "learning_rate", PURPLE, "learning rate")
    for axes, title in ((losses, "Loss"), (score, metric.title), (rate, "Learning rate")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
        if epochs:
            pad = max(0.5, 0.02 * (epochs[-1] - epochs[0]))
            axes.set_xlim(epochs[0] - pad, epochs[-1] + pad)

    rates = [row["learning_rate"] for row in history if row["learning_rate"]]
    if rates and max(rates) >= 10 * min(rates):
        rate.set_yscale("log")
    best = best_epoch(history, metric)
    if best is not None:
        value = next(row[f"val_{metric.name}"] for row in history if row["epoch"] == best)
        score.plot([best], [value], "*", color=VERMILION, markersize=15, zorder=5)
        for axes in (losses, score, rate):
            label = f"best epoch: {best}, {metric.label} {value:.3f}" if axes is score else f"best epoch: {best}"
            axes.axvline(best, color=VERMILION, linestyle="--", linewidth=1, zorder=1, label=label)
    for axes in (losses, score):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(framealpha=0.9, edgecolor="none")
    minutes = sum(row["minutes"] for row in history)
    figure.suptitle(f"{len(history)} epoch{'s' if len(history) != 1 else ''}, {minutes:.1f} minutes")
    return figure


def _line(axes: Axes, history: Sequence[Mapping[str, Any]], key: str, colour: str, label: str) -> None:
    x = np.array([row["epoch"] for row in history], dtype=float)
    y = np.array([np.nan if row[key] is None else row[key] for row in history], dtype=float)
    known = np.isfinite(y)
    if not known.any():
        return
    y[~known] = np.nan
    if not known.all():  # with validation every few epochs the points are isolated: connect them
        axes.plot(x[known], y[known], ":", color=colour, linewidth=1, alpha=0.6)
    marker = "o" if known.sum() <= 60 else ""
    axes.plot(x, y, marker=marker, markersize=4, color=colour, linewidth=1.6, label=label)
