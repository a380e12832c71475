"""Figure of a stack of thick slices, such as short-axis cine MRI, slice by slice, as other planes show little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike

from heartseg.data.stacks import slice_axis, stack_axis
from heartseg.report.overlay import panel, window
from heartseg.report.planes import PLANES, Case, cut, draw_planes, field_of_view, finish, ras_case

MARGIN = 15.0  # mm around the heart within the slices
GAP = 0.02  # inches between panels
SIZE = (16.0, 8.0)  # inches that the panels fill, in width or in height


def draw_case(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    spacing: Sequence[float],
    axcodes: str = "RAS",
    title: str | None = None,
    classes: Mapping[str, int] | None = None,
    slices: int = 6,
) -> Figure:
    """Draw a stack of thick slices with `draw_stack`, and any other volume with `draw_planes`.

    The spacing decides, see `heartseg.data.stacks.stack_axis`. ``slices`` is the largest number of slices of a stack;
    for the other arguments and the errors see `ras_case`.
    """
    case = ras_case(image, masks, spacing, axcodes, title, classes)
    return draw_planes(case) if stack_axis(case.spacing) is None else draw_stack(case, slices)


def draw_stack(case: Case, slices: int = 6) -> Figure:
    """Draw up to ``slices`` slices side by side, evenly from one end of the heart to the other, in true proportions.

    The first row is the image alone; each mask has its own row as in `draw_planes`. The part shown is the heart, that
    is all masks, with a margin; without a mask whole slices of the whole stack.
    """
    volume, masks, spacing, names, title = case
    through, across, up = stack_axes(spacing)
    margins = [0.0 if axis == through else MARGIN for axis in range(3)]
    _, box = field_of_view(volume.shape, masks, spacing, margins)
    arrays = case.crop(box)
    shape = arrays["image"].shape
    places = evenly(shape[through], slices)
    grey = window(arrays["image"])

    width, height = shape[across] * spacing[across], shape[up] * spacing[up]
    scale = min(SIZE[0] / (width * len(places)), SIZE[1] / (height * len(arrays)))  # inches per mm
    wide = max(scale * width * len(places), SIZE[1])  # wide enough for title and legend with few slices
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
    finish(figure, masks, names, title)
    return figure


def stack_axes(spacing: Sequence[float]) -> tuple[int, int, int]:
    """Return, for a volume in RAS order, the axis through the slices, and those drawn across and upwards."""
    through = slice_axis(spacing)
    return next((fixed, across, up) for _, fixed, across, up, _ in PLANES if fixed == through)


def evenly(depth: int, count: int) -> list[int]:
    """Return the indices of ``count`` of ``depth`` slices, evenly from the first to the last, or of all."""
    if count == 1:
        return [depth // 2]
    places: Any = np.linspace(0, depth - 1, min(count, depth)).round()
    return [int(place) for place in places]
