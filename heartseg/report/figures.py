"""How pictures are drawn and saved, and the curves of a run.

Everything is drawn on ``Figure`` objects: pyplot's global state stays untouched, so a handler may draw from
any thread and no figure is ever left open. Colours are those of Okabe and Ito, which colour-blind people can
tell apart.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from heartseg.data.files import atomic
from heartseg.errors import InputError

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"


def save(figure: Figure, path: str | os.PathLike[str], dpi: int = 110) -> None:
    """Write a figure whole or not at all; the suffix of ``path`` chooses the format. Raises as `check_picture`."""
    check_picture(path)
    FigureCanvasAgg(figure)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise InputError for a folder, or a suffix that names no format of a picture."""
    known = FigureCanvasAgg.get_supported_filetypes()
    if Path(path).is_dir() or Path(path).suffix[1:].lower() not in known:
        raise InputError(f"{path}: is no name of a picture; give one that ends in .{', .'.join(sorted(known))}")


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Epoch of the highest finite ``val_dice``, the first of equals; None before any validation."""
    known = [row for row in history if row["val_dice"] is not None and math.isfinite(row["val_dice"])]
    return max(known, key=lambda row: row["val_dice"])["epoch"] if known else None


def curves(history: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw losses, Dice and learning rate over the epochs into a picture.

    Args:
        history: one mapping for each epoch with ``epoch``, ``train_loss``, ``val_loss``, ``val_dice``,
            ``learning_rate`` and ``minutes``. None or NaN leaves a gap; a thin dotted line leads across it.
        path: file to write; its suffix chooses the format.
    """
    save(draw_curves(history), path)


def draw_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure behind :func:`curves`. An empty history gives empty axes."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    losses, dice, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in history]
    _line(losses, history, "train_loss", BLUE, "training")
    _line(losses, history, "val_loss", ORANGE, "validation")
    _line(dice, history, "val_dice", GREEN, "validation")
    _line(rate, history, "learning_rate", PURPLE, "learning rate")
    for axes, title in ((losses, "Loss"), (dice, "Dice"), (rate, "Learning rate")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
        if epochs:
            pad = max(0.5, 0.02 * (epochs[-1] - epochs[0]))
            axes.set_xlim(epochs[0] - pad, epochs[-1] + pad)

    rates = [row["learning_rate"] for row in history if row["learning_rate"]]
    if rates and max(rates) >= 10 * min(rates):
        rate.set_yscale("log")
    best = best_epoch(history)
    if best is not None:
        value = next(row["val_dice"] for row in history if row["epoch"] == best)
        dice.plot([best], [value], "*", color=VERMILION, markersize=15, zorder=5)
        for axes in (losses, dice, rate):
            label = f"best epoch: {best}, Dice {value:.3f}" if axes is dice else f"best epoch: {best}"
            axes.axvline(best, color=VERMILION, linestyle="--", linewidth=1, zorder=1, label=label)
    for axes in (losses, dice):
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
    if not known.all():  # with validation every few epochs the dots stand alone: lead the eye across
        axes.plot(x[known], y[known], ":", color=colour, linewidth=1, alpha=0.6)
    marker = "o" if known.sum() <= 60 else ""
    axes.plot(x, y, marker=marker, markersize=4, color=colour, linewidth=1.6, label=label)
