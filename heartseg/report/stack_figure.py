"""A stack of thick slices, such as short-axis cine MRI, slice by slice, since other planes show little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike

from heartseg.data.stacks import slice_axis, stack_axis
from heartseg.report.overlay import label_names, panel, window
from heartseg.report.planes import PLANES, canonical, cut, draw_planes, finish, view

MARGIN = 15.0  # mm around the heart within the slices
GAP = 0.02  # inches between panels
SIZE = (16.0, 8.0)  # inches that the panels of a picture fill, one way or the other


def draw_case(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    spacing: Sequence[float],
    axcodes: str = "RAS",
    title: str | None = None,
    classes: Mapping[str, int] | None = None,
    slices: int = 6,
) -> Figure:
    """A stack of thick slices slice by slice, see `draw_stack`; any other volume in three planes, see `draw_planes`.

    Which it is, its spacing tells: see `heartseg.data.stacks.stack_axis`.
    """
    if stack_axis(spacing) is None:
        return draw_planes(image, masks, spacing, axcodes, title, classes)
    return draw_stack(image, masks, spacing, axcodes, title, classes, slices)


def draw_stack(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    spacing: Sequence[float],
    axcodes: str = "RAS",
    title: str | None = None,
    classes: Mapping[str, int] | None = None,
    slices: int = 6,
) -> Figure:
    """Slices of a stack side by side, evenly from one end of the heart to the other, in true proportions.

    The first row is the image alone; each mask has a row of its own as in `draw_planes`. What is shown is the
    heart, that is all masks, with a margin around it; without a mask whole slices of the whole stack.

    Args:
        image, masks, spacing, axcodes, title, classes: see `draw_planes`.
        slices: how many at most.

    Raises:
        InputError: as `draw_planes`.
    """
    volume, labels, spacing = canonical(image, masks, spacing, axcodes)
    through, across, up = stack_axes(spacing)
    margins = [0.0 if axis == through else MARGIN for axis in range(3)]
    _, box = view(volume.shape, labels, spacing, margins)
    arrays = {name: array[box] for name, array in {"image": volume, **labels}.items()}
    shape = arrays["image"].shape
    places = evenly(shape[through], slices)
    grey, names = window(arrays["image"]), label_names(labels.values(), classes)

    width, height = shape[across] * spacing[across], shape[up] * spacing[up]
    scale = min(SIZE[0] / (width * len(places)), SIZE[1] / (height * len(arrays)))  # inch per mm
    wide = max(scale * width * len(places), SIZE[1])  # few slices leave room for title and legend
    layout = ConstrainedLayoutEngine(w_pad=GAP, h_pad=GAP)
    figure = Figure(figsize=(wide + 0.4, scale * height * len(arrays) + 1.2), layout=layout)
    grid = figure.subplots(len(arrays), len(places), squeeze=False)
    for place, column in zip(places, grid.T, strict=True):
        pictures = {name: cut(array, through, across, up, place) for name, array in arrays.items()}
        for name, axes in zip(arrays, column, strict=True):
            panel(axes, pictures, (0.0, width, 0.0, height), grey, name, many=bool(names))
        column[0].set_title(f"slice {box[through].start + place + 1} of {volume.shape[through]}")
    for name, axes in zip(arrays, grid[:, 0], strict=True):
        axes.set_ylabel(name)
    finish(figure, labels, names, title)
    return figure


def stack_axes(spacing: Sequence[float]) -> tuple[int, int, int]:
    """Of a volume in RAS order: the axis through the slices, and those that a slice shows across and upwards."""
    through = slice_axis(spacing)
    return next((fixed, across, up) for _, fixed, across, up, _ in PLANES if fixed == through)


def evenly(depth: int, count: int) -> list[int]:
    """``count`` of ``depth`` slices from the first to the last, all of them where there are no more."""
    if count == 1:
        return [depth // 2]
    places: Any = np.linspace(0, depth - 1, min(count, depth)).round()
    return [int(place) for place in places]
