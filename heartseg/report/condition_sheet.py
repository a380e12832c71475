"""A case under several conditions, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy import ndimage

from heartseg.data.anatomy import anatomical_affine
from heartseg.data.stacks import stack_axis
from heartseg.report.overlay import MASK_COLOURS, label_names, legend, paint, panel, window
from heartseg.report.planes import PLANES, canonical, cut, view
from heartseg.report.stack_figure import MARGIN, stack_axes

COLUMNS = 5  # panels side by side
MASKS = {"truth": "label", "prediction": "pred"}


class Plane(NamedTuple):
    """A slice of image, truth and prediction, rows from the bottom up, and its width and height in mm."""

    pictures: dict[str, NDArray[Any]]
    width: float
    height: float


def planes(item: Mapping[str, MetaTensor]) -> list[Plane]:
    """The axial and the coronal slice through the truth's centre, with the masks on the image's grid.

    Of a stack two slices, a quarter of the truth's away from either of its ends, and a cut across all of them,
    in which slices that were lost are seen.

    Args:
        item: ``image`` ``[1, X, Y, Z]`` on the network's grid; ``label`` and ``pred`` on the file's own.
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
    volume, labels, spacing = canonical(image[0].numpy(force=True), masks, nib.affines.voxel_sizes(affine), axcodes)
    # By the truth alone: the same place under every artifact.
    cuts, box = _cuts(labels["truth"], spacing)
    arrays = {name: array[box] for name, array in {"image": volume, **labels}.items()}
    sizes = [length * mm for length, mm in zip(arrays["image"].shape, spacing, strict=True)]
    return [
        Plane(
            {name: cut(array, fixed, across, up, place - box[fixed].start) for name, array in arrays.items()},
            sizes[across],
            sizes[up],
        )
        for fixed, across, up, place in cuts
    ]


def _cuts(truth: NDArray[Any], spacing: Sequence[float]) -> tuple[list[tuple[int, int, int, int]], tuple[slice, ...]]:
    """Axis that is cut, axes across and upwards, and the index cut at, of each plane; and the part to show."""
    labels = {"truth": truth}
    if stack_axis(spacing) is None:
        centre, box = view(truth.shape, labels, spacing)
        return [(fixed, across, up, centre[fixed]) for _, fixed, across, up, _ in PLANES[:2]], box
    through, across, up = stack_axes(spacing)
    centre, box = view(truth.shape, labels, spacing, (MARGIN,) * 3)
    heart = view(truth.shape, labels, spacing, (0.0,) * 3)[1][through]
    depth = heart.stop - heart.start
    places = sorted({heart.start + depth // 4, heart.start + 3 * depth // 4})
    return [*((through, across, up, place) for place in places), (up, across, through, centre[up])], box


def draw_sheet(
    title: str,
    panels: Mapping[str, Sequence[Plane]],
    dice: Mapping[str, float | None],
    classes: Mapping[str, int] | None = None,
) -> Figure:
    """A case under several conditions: each a panel of planes, with the outlines of truth and prediction.

    Several classes have a colour each; then the prediction is filled, to be told from the truth.

    Args:
        title: stands above the sheet.
        panels: for each condition its planes, all of the same place.
        dice: of the same conditions.
        classes: name and label value of each foreground class, for the legend.
    """
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    first = next(iter(panels.values()))
    width, heights = first[0].width, [plane.height for plane in first]
    scale = 2.6 / width  # inch per mm: the same in every panel
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
        told = "" if dice[name] is None else f": Dice {dice[name]:.3f}"
        grid[row * len(first), column].set_title(f"{name.replace('_', ' ')}{told}")
    handles: list[Patch | Line2D]
    if names:
        handles = [Patch(color="0.6", alpha=0.6, label="prediction"), *legend(MASKS, names)]
    else:
        handles = [Line2D([], [], color=MASK_COLOURS[mask], label=f"outline of the {mask}") for mask in MASKS]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(title)
    return figure
