"""Distances between the surfaces of two masks, in mm, from one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from heartseg.errors import InputError
from heartseg.metrics.empty_masks import empty_metrics
from heartseg.metrics.masks import Array, as_arrays, bounds, check_boolean, common_box, count, crop
from heartseg.metrics.nearest_distances import nearest_distances
from heartseg.metrics.table import OF_SURFACES
from heartseg.numbers import check_spacing, is_number


def surface_metrics(
    pred: torch.Tensor | np.ndarray, truth: torch.Tensor | np.ndarray, spacing: Sequence[float], tolerance: float = 2.0
) -> dict[str, float | None]:
    """Return the distances between the surfaces of two masks, as defined by MONAI.

    The surface of a mask is its voxels with a face neighbour outside it (MONAI's ``get_mask_edges``); everything beyond
    the border of the image is outside. The distance of a surface voxel is that of its centre to the nearest centre of
    the other surface.

    Args:
        pred, truth: boolean masks ``[x, y]`` or ``[x, y, z]`` on one grid, tensors (on a CPU or GPU) or arrays.
        spacing: voxel size in mm, one number per axis.
        tolerance: mm, of the normalised surface Dice.

    Returns:
        ``hd95`` and ``hd``: 95th percentile (linear between ranks) and maximum of the distances from one surface,
        the larger of the two directions. ``assd``: mean of the distances from both surfaces together.
        ``nsd``: share of the voxels of both surfaces that are within the tolerance of the other (Nikolov et al.,
        2018), counted in voxels, not in mm², as is MONAI's default. Distances and tolerance are compared in single
        precision, as in MONAI, so rounding decides nothing.
        ``boundary_dice``: Dice of the voxels of the two surfaces, that is NSD at tolerance 0, or Boundary IoU
        (Cheng et al., 2021) with a band of one voxel, as a Dice. It is strict: a shift by one voxel may reduce it to
        0. The symmetric boundary Dice of Yeghiazaryan and Voiculescu (2018) is a different measure.
        Empty masks: see `heartseg.metrics.empty_masks`.

    Raises:
        InputError: shapes that differ, masks that are not boolean or do not have two or three axes, a spacing that is
            not one positive number per axis, a negative tolerance.
    """
    one, other = as_arrays(pred, truth)
    check_boolean(pred, truth)
    if one.ndim not in (2, 3):
        raise InputError(f"masks: {one.ndim} axes; give [x, y] or [x, y, z], one class without channel or batch")
    steps = check_spacing(spacing, one.ndim)
    if not is_number(tolerance) or not tolerance >= 0:
        raise InputError(f"tolerance: {tolerance} mm is not a distance; give a number of 0 or more")
    boxes = [box for box in (bounds(one), bounds(other)) if box is not None]
    if len(boxes) < 2:
        return empty_metrics((metric.name for metric in OF_SURFACES), both=not boxes)
    # Nothing outside the box around both belongs to either mask, so its border can stand for the image's.
    box = common_box(boxes)
    return _compare(_surface(crop(one, box)), _surface(crop(other, box)), steps, tolerance)


def _compare(a: Array, b: Array, spacing: tuple[float, ...], tolerance: float) -> dict[str, Any]:
    # Voxels on both surfaces have distance 0 and need no search.
    shared, only_a, only_b = count(a & b), _points(a & ~b), _points(b & ~a)
    total = 2 * shared + len(only_a) + len(only_b)
    directions = [
        np.concatenate([np.zeros(shared), nearest_distances(own, _points(of), spacing)])
        for own, of in ((only_a, b), (only_b, a))
    ]
    near = [int((distances.astype(np.float32) <= np.float32(tolerance)).sum()) for distances in directions]
    return {
        "hd95": max(float(np.percentile(distances, 95)) for distances in directions),
        "hd": max(float(distances.max()) for distances in directions),
        "assd": float(sum(distances.sum() for distances in directions)) / total,
        "nsd": sum(near) / total,
        "boundary_dice": 2 * shared / total,
    }


def _surface(mask: Array) -> Array:
    inner = mask & mask  # a copy
    for axis in range(mask.ndim):
        before = (slice(None),) * axis
        first, last, ahead, behind = ((*before, s) for s in (0, -1, slice(1, None), slice(None, -1)))
        inner[ahead] &= mask[behind]
        inner[behind] &= mask[ahead]
        inner[first] = False
        inner[last] = False
    return mask ^ inner


def _points(mask: Array) -> Array:
    if isinstance(mask, torch.Tensor):
        return mask.nonzero()
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)  # faster than np.argwhere
