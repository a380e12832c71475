"""Pictures of a run: its curves, and a case with its masks in three planes.

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
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from nibabel.orientations import apply_orientation, axcodes2ornt
from numpy.typing import ArrayLike, NDArray

from heartseg.data.files import atomic
from heartseg.errors import InputError

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
MASK_COLOURS = {"truth": SKY, "prediction": ORANGE}
LABEL_COLOURS = (ORANGE, SKY, GREEN, PURPLE, VERMILION, BLUE)

MARGIN = 40.0  # mm around the masks: enough to recognise the anatomy, close enough to see errors of one voxel

# Row name, axis it slices, axis drawn across, axis drawn upwards, letters left, right, bottom, top.
# Radiological: the patient's right is on the viewer's left, sagittal slices are seen from the patient's
# left.
PLANES = (
    ("axial", 2, 0, 1, "RLPA"),
    ("coronal", 1, 0, 2, "RLIS"),
    ("sagittal", 0, 1, 2, "APIS"),
)


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


def overlay(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    path: str | os.PathLike[str],
    spacing: Sequence[float],
    axcodes: str = "RAS",
    title: str | None = None,
) -> None:
    """Draw a volume and its masks in three planes into a picture; see :func:`draw_overlay`."""
    save(draw_overlay(image, masks, spacing, axcodes, title), path)


def draw_overlay(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    spacing: Sequence[float],
    axcodes: str = "RAS",
    title: str | None = None,
) -> Figure:
    """Axial, coronal and sagittal slice through the masks' centre, radiological and in true proportions.

    The first column is the image alone; each mask has a column of its own, filled, and every column but the
    truth's own also carries the outline of the truth, so that what was missed and what was added can be seen.

    Args:
        image: ``[X, Y, Z]``, any intensities; the part shown runs from black to white between its 1st and
            99th percentile.
        masks: name to label map ``[X, Y, Z]`` (0 is background), for instance ``truth`` and ``prediction``.
            The slices go through the truth's centroid, else through that of the first mask that is not empty,
            else through the middle.
        spacing: mm of a voxel along the array's axes.
        axcodes: what the array's axes point to, such as ``"RAS"`` (the letters of ``nibabel.aff2axcodes``).
        title: a line above the picture.

    Raises:
        InputError: if the image or a mask is not 3D or their shapes differ.
    """
    volume, labels, spacing = canonical(image, masks, spacing, axcodes)
    centre, box = view(volume.shape, labels, spacing)
    shown = volume[box]  # the window of what is shown: the whole field of view would wash out the blood pool
    finite = shown[np.isfinite(shown)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
    high = max(high, low + 1e-6)
    many = max((int(mask.max()) for mask in labels.values()), default=0) > 1

    sizes = [(box[i].stop - box[i].start) * spacing[i] for i in range(3)]
    widths, heights = [sizes[0], sizes[0], sizes[1]], [sizes[1], sizes[2], sizes[2]]
    arrays = {"image": volume, **labels}
    columns = list(arrays)
    at = [centre[axis] - box[axis].start for axis in range(3)]
    scale = 3.4 / max(widths)  # inch per mm: the same in every panel, so sizes can be compared by eye
    figure = Figure(
        figsize=(scale * max(widths) * len(columns) + 0.8, scale * sum(heights) + 1.5), layout="constrained"
    )
    grid = figure.subplots(3, len(columns), squeeze=False, gridspec_kw={"height_ratios": heights})
    for (plane, fixed, across, up, letters), row in zip(PLANES, grid, strict=True):
        pictures = {name: cut(array[box], fixed, across, up, at[fixed]) for name, array in arrays.items()}

        extent = (0.0, sizes[across], 0.0, sizes[up])
        for name, axes in zip(columns, row, strict=True):
            axes.imshow(pictures["image"], "gray", vmin=low, vmax=high, origin="lower", extent=extent)
            axes.set(xticks=[], yticks=[])
            if name in labels:
                paint(axes, pictures[name], name, extent, many, filled=True)
                if name != "truth" and "truth" in labels:
                    paint(axes, pictures["truth"], "truth", extent, many, filled=False)
            _edge_letters(axes, letters)
            if plane == "axial":
                axes.set_title(name)
        row[0].set_ylabel(f"{plane}\n{centre[fixed] + 1} of {volume.shape[fixed]}")
    handles = _legend(labels, many)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    if title:
        figure.suptitle(title)
    FigureCanvasAgg(figure)
    return figure


def cut(array: NDArray[Any], fixed: int, across: int, up: int, at: int) -> NDArray[Any]:
    """A plane as rows from the bottom up. RAS indices grow to the right and to the front: those go left."""
    return np.moveaxis(array, (up, across, fixed), (0, 1, 2))[:, ::-1, at]


def canonical(
    image: ArrayLike, masks: Mapping[str, ArrayLike], spacing: Sequence[float], axcodes: str
) -> tuple[NDArray[Any], dict[str, NDArray[Any]], list[float]]:
    """Image, masks and spacing with axes in RAS order."""
    volume = np.asarray(image, dtype=np.float32)
    labels = {name: np.asarray(mask) for name, mask in masks.items()}
    if volume.ndim != 3 or len(spacing) != 3:
        raise InputError(f"image: has shape {volume.shape} and spacing {tuple(spacing)}; give one 3D volume")
    for name, mask in labels.items():
        if mask.shape != volume.shape:
            raise InputError(f"{name}: has shape {mask.shape}, the image {volume.shape}; make them equal")
    turn = axcodes2ornt(tuple(axcodes))
    labels = {name: apply_orientation(mask.astype(int), turn) for name, mask in labels.items()}
    order = np.argsort(turn[:, 0])  # row i of `turn` says where array axis i goes
    return apply_orientation(volume, turn), labels, [float(spacing[axis]) for axis in order]


def view(
    shape: tuple[int, ...], labels: Mapping[str, NDArray[Any]], spacing: Sequence[float]
) -> tuple[list[int], tuple[slice, ...]]:
    """Where the planes cross, and the part of the volume to show: all masks with a margin around them."""
    names = sorted(labels, key=lambda name: name != "truth")
    filled = [np.argwhere(labels[name]) for name in names if labels[name].any()]
    if not filled:
        return [size // 2 for size in shape], tuple(slice(0, size) for size in shape)
    centre = [round(value) for value in filled[0].mean(axis=0)]
    low = np.min([points.min(axis=0) for points in filled], axis=0)
    high = np.max([points.max(axis=0) for points in filled], axis=0)
    margin = [math.ceil(MARGIN / step) for step in spacing]
    box = tuple(slice(max(0, int(low[i]) - margin[i]), min(shape[i], int(high[i]) + margin[i] + 1)) for i in range(3))
    return centre, box


def _colour(name: str, label: int, many: bool) -> str:
    if not many and name in MASK_COLOURS:
        return MASK_COLOURS[name]
    return LABEL_COLOURS[(label - 1) % len(LABEL_COLOURS)]


def paint(axes: Axes, mask: NDArray[Any], name: str, extent: tuple[float, ...], many: bool, filled: bool) -> None:
    """A mask as a translucent fill with its edge, or as an outline only."""
    rows, columns = mask.shape
    y = (np.arange(-1, rows + 1) + 0.5) * extent[3] / rows
    x = (np.arange(-1, columns + 1) + 0.5) * extent[1] / columns
    for label in (int(value) for value in np.unique(mask) if value > 0):
        # one empty row around: a mask that touches the border is closed there
        here = np.pad(mask == label, 1).astype(float)
        colour = _colour(name, label, many)
        if filled:
            axes.contourf(x, y, here, levels=[0.5, 2.0], colors=[colour], alpha=0.35)
            axes.contour(x, y, here, levels=[0.5], colors=[colour], linewidths=1.2)
        else:
            line = axes.contour(x, y, here, levels=[0.5], colors=[colour], linewidths=1.4)
            line.set_path_effects([withStroke(linewidth=3.0, foreground="black")])
    axes.set(xlim=extent[:2], ylim=extent[2:])


def _edge_letters(axes: Axes, letters: str) -> None:
    places = [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")]
    places += [(0.5, 0.02, "center", "bottom"), (0.5, 0.98, "center", "top")]
    for letter, (x, y, horizontal, vertical) in zip(letters, places, strict=True):
        text = axes.text(x, y, letter, transform=axes.transAxes, color="white", fontsize=11, weight="bold")
        text.set(ha=horizontal, va=vertical, path_effects=[withStroke(linewidth=2.5, foreground="black")])


def _legend(labels: Mapping[str, NDArray[Any]], many: bool) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = []
    if many:
        known = {int(value) for mask in labels.values() for value in np.unique(mask) if value > 0}
        for value in sorted(known):
            handles.append(Patch(color=_colour("", value, True), alpha=0.6, label=f"label {value}"))
    else:
        handles += [Patch(color=_colour(name, 1, False), alpha=0.6, label=name) for name in labels]
    if "truth" in labels and len(labels) > 1:
        colour = "0.6" if many else MASK_COLOURS["truth"]
        stroke = [withStroke(linewidth=3.0, foreground="black")]
        line = Line2D([], [], color=colour, linewidth=1.4, path_effects=stroke, label="outline of the truth")
        handles.append(line)
    return handles
