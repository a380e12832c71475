"""Figure of a case with its masks in three planes, in radiological convention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from nibabel.orientations import apply_orientation, axcodes2ornt
from numpy.typing import ArrayLike, NDArray

from heartseg.errors import InputError
from heartseg.report.figures import legend_below
from heartseg.report.overlay import label_names, legend, panel, window

MARGIN = 40.0  # mm around the masks: enough to recognise the anatomy, close enough to see errors of one voxel

# Row name, axis cut, axis drawn across, axis drawn upwards, letters at the left, right, bottom and top. Radiological
# convention: the patient's right is on the viewer's left, sagittal slices are seen from the patient's left.
PLANES = (
    ("axial", 2, 0, 1, "RLPA"),
    ("coronal", 1, 0, 2, "RLIS"),
    ("sagittal", 0, 1, 2, "APIS"),
)


class Case(NamedTuple):
    """A case in RAS order: image, masks, spacing in mm, the names of labels that have their own colour, and a title."""

    volume: NDArray[Any]
    masks: dict[str, NDArray[Any]]
    spacing: list[float]
    names: dict[int, str]
    title: str | None

    def crop(self, box: tuple[slice, ...]) -> dict[str, NDArray[Any]]:
        """Return the part inside a box of ``image`` and masks."""
        return {name: array[box] for name, array in {"image": self.volume, **self.masks}.items()}


def ras_case(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    spacing: Sequence[float],
    axcodes: str = "RAS",
    title: str | None = None,
    classes: Mapping[str, int] | None = None,
) -> Case:
    """Return a case with its axes in RAS order, for `draw_planes` and `draw_stack`.

    Args:
        image: ``[X, Y, Z]``, any intensities; the part shown runs from black to white between its 1st and 99th
            percentile.
        masks: label maps ``[X, Y, Z]`` by name (0 is background), for instance ``truth`` and ``prediction``.
        spacing: voxel size in mm along the array's axes.
        axcodes: directions of the array's axes, such as ``"RAS"`` (the letters of ``nibabel.aff2axcodes``).
        title: line above the figure.
        classes: name and label value of each foreground class, for the legend.

    Raises InputError if the image or a mask is not 3D or their shapes differ.
    """
    volume = np.asarray(image, dtype=np.float32)
    labels = {name: np.asarray(mask) for name, mask in masks.items()}
    if volume.ndim != 3 or len(spacing) != 3:
        raise InputError(f"image: has shape {volume.shape} and spacing {tuple(spacing)}; give one 3D volume")
    for name, mask in labels.items():
        if mask.shape != volume.shape:
            raise InputError(f"{name}: has shape {mask.shape}, the image {volume.shape}; make them equal")
    turn = axcodes2ornt(tuple(axcodes))
    labels = {name: apply_orientation(mask.astype(int), turn) for name, mask in labels.items()}
    order = np.argsort(turn[:, 0])  # row i of `turn` is the new position of array axis i
    sizes = [float(spacing[axis]) for axis in order]
    return Case(apply_orientation(volume, turn), labels, sizes, label_names(labels.values(), classes), title)


def draw_planes(case: Case) -> Figure:
    """Draw the axial, coronal and sagittal slice through the masks' centre, in true proportions.

    The slices go through the truth's centroid, else through that of the first mask that is not empty, else through
    the middle. The first column is the image alone. Each mask has its own column, filled, and every column except the
    truth's also has the outline of the truth, so that missed and added voxels can be seen.
    """
    volume, masks, spacing, names, title = case
    centre, box = field_of_view(volume.shape, masks, spacing)
    grey = window(volume[box])  # of the part shown: over the whole field of view the blood pool would be washed out

    sizes = [(box[i].stop - box[i].start) * spacing[i] for i in range(3)]
    widths, heights = [sizes[0], sizes[0], sizes[1]], [sizes[1], sizes[2], sizes[2]]
    arrays = case.crop(box)
    at = [centre[axis] - box[axis].start for axis in range(3)]
    scale = 3.4 / max(widths)  # inches per mm, equal in all panels so that sizes can be compared
    figure = Figure(figsize=(scale * max(widths) * len(arrays) + 0.8, scale * sum(heights) + 1.5), layout="constrained")
    grid = figure.subplots(3, len(arrays), squeeze=False, gridspec_kw={"height_ratios": heights})
    for (plane, fixed, across, up, letters), row in zip(PLANES, grid, strict=True):
        pictures = {name: cut(array, fixed, across, up, at[fixed]) for name, array in arrays.items()}
        extent = (0.0, sizes[across], 0.0, sizes[up])
        for name, axes in zip(arrays, row, strict=True):
            panel(axes, pictures, extent, grey, name, many=bool(names))
            _edge_letters(axes, letters)
            if plane == "axial":
                axes.set_title(name)
        row[0].set_ylabel(f"{plane}\n{centre[fixed] + 1} of {volume.shape[fixed]}")
    finish(figure, masks, names, title)
    return figure


def finish(figure: Figure, masks: Mapping[str, Any], names: Mapping[int, str], title: str | None) -> None:
    """Draw the legend below a figure of a case and the title above it."""
    legend_below(figure, legend(masks, names))
    if title:
        figure.suptitle(title)
    FigureCanvasAgg(figure)


def cut(array: NDArray[Any], fixed: int, across: int, up: int, at: int) -> NDArray[Any]:
    """Return a plane of a RAS array, rows from the bottom up; the patient's right, and the front, are on the left."""
    return np.moveaxis(array, (up, across, fixed), (0, 1, 2))[:, ::-1, at]


def field_of_view(
    shape: tuple[int, ...],
    labels: Mapping[str, NDArray[Any]],
    spacing: Sequence[float],
    margins: Sequence[float] = (MARGIN,) * 3,
) -> tuple[list[int], tuple[slice, ...]]:
    """Return where the planes cross, and the box to show: all masks with margins (mm) around them."""
    names = sorted(labels, key=lambda name: name != "truth")
    filled = [np.argwhere(labels[name]) for name in names if labels[name].any()]
    if not filled:
        return [size // 2 for size in shape], tuple(slice(0, size) for size in shape)
    centre = [round(value) for value in filled[0].mean(axis=0)]
    low = np.min([points.min(axis=0) for points in filled], axis=0)
    high = np.max([points.max(axis=0) for points in filled], axis=0)
    around = [math.ceil(margin / step) for margin, step in zip(margins, spacing, strict=True)]
    box = tuple(slice(max(0, int(low[i]) - around[i]), min(shape[i], int(high[i]) + around[i] + 1)) for i in range(3))
    return centre, box


def _edge_letters(axes: Axes, letters: str) -> None:
    places = [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")]
    places += [(0.5, 0.02, "center", "bottom"), (0.5, 0.98, "center", "top")]
    for letter, (x, y, horizontal, vertical) in zip(letters, places, strict=True):
        text = axes.text(x, y, letter, transform=axes.transAxes, color="white", fontsize=11, weight="bold")
        text.set(ha=horizontal, va=vertical, path_effects=[withStroke(linewidth=2.5, foreground="black")])
