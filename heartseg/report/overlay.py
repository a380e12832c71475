"""Masks over an image: colours, a panel with both, and its legend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from heartseg.report.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

MASK_COLOURS = {"truth": SKY, "prediction": ORANGE}
LABEL_COLOURS = (ORANGE, SKY, GREEN, PURPLE, VERMILION, BLUE)


def label_names(masks: Iterable[NDArray[Any]], classes: Mapping[str, int] | None = None) -> dict[int, str]:
    """Return the names of the labels that are coloured by label; empty if there is only one label.

    With a single label colours distinguish the masks instead, that is truth and prediction.

    Args:
        masks: label maps.
        classes: name and label value of each foreground class; all are included, found in the masks or not.
    """
    known = {value: name.replace("_", " ") for name, value in (classes or {}).items() if value > 0}
    found = {int(value) for mask in masks for value in np.unique(mask) if value > 0}
    names = {value: known.get(value, f"label {value}") for value in sorted(found | set(known))}
    return names if max(names, default=0) > 1 else {}


def window(image: NDArray[Any]) -> tuple[float, float]:
    """Return the intensities shown as black and white: the 1st and 99th percentile, which ignore a single hot voxel."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
    return float(low), max(float(high), float(low) + 1e-6)


def panel(
    axes: Axes,
    pictures: Mapping[str, NDArray[Any]],
    extent: tuple[float, float, float, float],
    grey: tuple[float, float],
    name: str = "image",
    many: bool = False,
) -> None:
    """Draw the image in grey, over it the named mask, filled, and unless that is the truth, the truth's outline.

    Args:
        axes: axes to draw on.
        pictures: ``image`` and masks ``[row, column]``, rows from the bottom up.
        extent: left, right, bottom and top in mm; left and bottom are 0.
        grey: intensities of black and white, see `window`.
        name: name of the mask; ``image`` for no mask.
        many: one colour per label, else one per mask.
    """
    axes.imshow(pictures["image"], "gray", vmin=grey[0], vmax=grey[1], origin="lower", extent=extent)
    axes.set(xticks=[], yticks=[])
    if name != "image":
        paint(axes, pictures[name], name, extent, many, filled=True)
        if name != "truth" and "truth" in pictures:
            paint(axes, pictures["truth"], "truth", extent, many, filled=False)


def paint(axes: Axes, mask: NDArray[Any], name: str, extent: tuple[float, ...], many: bool, filled: bool) -> None:
    """Draw a mask as a translucent area with its edge, or as an outline only."""
    rows, columns = mask.shape
    y = (np.arange(-1, rows + 1) + 0.5) * extent[3] / rows
    x = (np.arange(-1, columns + 1) + 0.5) * extent[1] / columns
    for label in (int(value) for value in np.unique(mask) if value > 0):
        # one empty row on every side closes contours at the border
        here = np.pad(mask == label, 1).astype(float)
        colour = _colour(name, label, many)
        if filled:
            axes.contourf(x, y, here, levels=[0.5, 2.0], colors=[colour], alpha=0.35)
            axes.contour(x, y, here, levels=[0.5], colors=[colour], linewidths=1.2)
        else:
            line = axes.contour(x, y, here, levels=[0.5], colors=[colour], linewidths=1.4)
            line.set_path_effects([withStroke(linewidth=3.0, foreground="black")])
    axes.set(xlim=extent[:2], ylim=extent[2:])


def legend(masks: Iterable[str], names: Mapping[int, str]) -> list[Patch | Line2D]:
    """Return legend handles for panels with these masks; ``names`` are those of `label_names`."""
    masks = list(masks)
    if names:
        colours = {words: _colour("", value, True) for value, words in names.items()}
    else:
        colours = {mask: _colour(mask, 1, False) for mask in masks}
    handles: list[Patch | Line2D] = [Patch(color=colour, alpha=0.6, label=words) for words, colour in colours.items()]
    if "truth" in masks and len(masks) > 1:
        colour = "0.6" if names else MASK_COLOURS["truth"]
        stroke = [withStroke(linewidth=3.0, foreground="black")]
        line = Line2D([], [], color=colour, linewidth=1.4, path_effects=stroke, label="outline of the truth")
        handles.append(line)
    return handles


def _colour(name: str, label: int, many: bool) -> str:
    if not many and name in MASK_COLOURS:
        return MASK_COLOURS[name]
    return LABEL_COLOURS[(label - 1) % len(LABEL_COLOURS)]
