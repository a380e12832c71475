"""Figure of a case under several conditions, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy import ndimage

from heartseg.data.anatomy import anatomical_affine
from heartseg.data.stacks import stack_axis
from heartseg.metrics.table import DICE
from heartseg.report.figures import legend_below, line_handles
from heartseg.report.overlay import MASK_COLOURS, label_names, legend, paint, panel, window
from heartseg.report.planes import PLANES, cut, field_of_view, ras_case
from heartseg.report.stack_figure import MARGIN, stack_axes

COLUMNS = 5  # panels side by side
MASKS = {"truth": "label", "prediction": "pred"}


class Plane(NamedTuple):
    """A plane of image, truth and prediction, rows from the bottom up, and its width and height in mm."""

    pictures: dict[str, NDArray[Any]]
    width: float
    height: float


def case_planes(item: Mapping[str, MetaTensor]) -> list[Plane]:
    """Return the axial and the coronal plane through the truth's centre, with the masks on the image's grid.

    For a stack, return two slices, a quarter of the truth's slices from either end, and a plane across all slices,
    which shows lost ones.

    Args:
        item: ``image`` ``[1, X, Y, Z]`` on the network's grid; ``label`` and ``pred`` on the file's grid.
    """
    image = item["image"]
    affine = np.asarray(image.affine)
    own = anatomical_affine(np.asarray(item["label"].affine), image.meta)
    step = np.linalg.inv(own) @ affine
    masks = {
        name: ndimage.affine_transform(
            item[key][0].numpy(force=True).round().astype(np.int16), step, output_shape=image.shape[1:], order=0
        )
        for name, key in MASKS.items()
    }
    axcodes = "".join(nib.aff2axcodes(affine))
    case = ras_case(image[0].numpy(force=True), masks, nib.affines.voxel_sizes(affine), axcodes)
    # The truth alone decides, so that the planes are the same under every artifact.
    cuts, box = _cuts(case.masks["truth"], case.spacing)
    arrays = case.crop(box)
    sizes = [length * mm for length, mm in zip(arrays["image"].shape, case.spacing, strict=True)]
    return [
        Plane(
            {name: cut(array, fixed, across, up, place - box[fixed].start) for name, array in arrays.items()},
            sizes[across],
            sizes[up],
        )
        for fixed, across, up, place in cuts
    ]


def _cuts(truth: NDArray[Any], spacing: Sequence[float]) -> tuple[list[tuple[int, int, int, int]], tuple[slice, ...]]:
    """Return, for each plane, the axis cut, the axes across and upwards and the index; and the box to show."""
    labels = {"truth": truth}
    if stack_axis(spacing) is None:
        centre, box = field_of_view(truth.shape, labels, spacing)
        return [(fixed, across, up, centre[fixed]) for _, fixed, across, up, _ in PLANES[:2]], box
    through, across, up = stack_axes(spacing)
    centre, box = field_of_view(truth.shape, labels, spacing, (MARGIN,) * 3)
    heart = field_of_view(truth.shape, labels, spacing, (0.0,) * 3)[1][through]
    depth = heart.stop - heart.start
    places = sorted({heart.start + depth // 4, heart.start + 3 * depth // 4})
    return [*((through, across, up, place) for place in places), (up, across, through, centre[up])], box


def draw_sheet(
    title: str,
    panels: Mapping[str, Sequence[Plane]],
    dice: Mapping[str, float | None],
    classes: Mapping[str, int] | None = None,
) -> Figure:
    """Draw a case under several conditions, each as a panel of planes with the outlines of truth and prediction.

    With several classes, colours mark the classes and the prediction is filled, to distinguish it from the truth.

    Args:
        title: title of the sheet.
        panels: planes by condition, all at the same positions.
        dice: Dice by condition.
        classes: name and label value of each foreground class, for the legend.
    """
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    first = next(iter(panels.values()))
    width, heights = first[0].width, [plane.height for plane in first]
    scale = 2.6 / width  # inches per mm, equal in all panels
    figure = Figure(figsize=(2.7 * columns, (scale * sum(heights) + 0.4) * rows + 0.8), layout="constrained")
    shape = (rows * len(first), columns)
    grid = figure.subplots(*shape, squeeze=False, gridspec_kw={"height_ratios": heights * rows})
    names = label_names((plane.pictures[mask] for part in panels.values() for plane in part for mask in MASKS), classes)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (name, part) in enumerate(panels.items()):
        row, column = divmod(place, columns)
        for depth, plane in enumerate(part):
            axes = grid[row * len(first) + depth, column]
            extent = (0.0, plane.width, 0.0, plane.height)
            grey = window(plane.pictures["image"])
            panel(axes, plane.pictures, extent, grey, "prediction" if names else "image", many=True)
            for mask in () if names else MASKS:
                paint(axes, plane.pictures[mask], mask, extent, many=False, filled=False)
        score = "" if dice[name] is None else f": {DICE.label} {dice[name]:.3f}"
        grid[row * len(first), column].set_title(f"{name.replace('_', ' ')}{score}")
    handles: list[Artist]
    if names:
        handles = [Patch(color="0.6", alpha=0.6, label="prediction"), *legend(MASKS, names)]
    else:
        handles = [*line_handles({f"outline of the {mask}": {"color": MASK_COLOURS[mask]} for mask in MASKS})]
    legend_below(figure, handles)
    figure.suptitle(title)
    return figure
