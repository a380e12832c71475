"""Surface distances of two masks, in mm."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from monai.metrics.utils import get_mask_edges

from heartseg.errors import InputError

SURFACE = ("hd95", "hd", "assd", "nsd", "boundary_dice")


def surface_metrics(
    pred: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float], tolerance: float = 2.0
) -> dict[str, float | None]:
    """Distances between the surfaces of two masks, by MONAI's functions.

    The surface of a mask is its voxels with a face neighbour outside it (MONAI's ``get_mask_edges``);
    distances run between voxel centres.

    Args:
        pred, truth: boolean masks ``[x, y]`` or ``[x, y, z]`` on one grid.
        spacing: voxel size in mm, one number per axis.
        tolerance: mm, of the normalised surface Dice.

    Returns:
        ``hd95`` and ``hd``: 95th percentile and maximum of the surface distances, the larger of the two
        directions. ``assd``: mean over both directions. ``nsd``: share of both surfaces within the tolerance
        of the other (Nikolov et al., 2018). ``boundary_dice``: Dice of the two surfaces' voxels.
        Both masks empty is perfect: distances 0, shares 1. One empty: shares 0, distances None (missing).

    Raises:
        InputError: shapes that differ, masks that are not boolean, a spacing that is not positive.
    """
    if pred.shape != truth.shape:
        raise InputError(
            f"masks: shapes {tuple(pred.shape)} and {tuple(truth.shape)} differ; resample one to the other"
        )
    if pred.dtype != torch.bool or truth.dtype != torch.bool:
        raise InputError(f"masks: {pred.dtype}, {truth.dtype}: not boolean; compare with the label, as in mask == 1")
    if len(spacing) != pred.ndim or not all(0 < s < float("inf") for s in spacing):
        raise InputError(f"spacing: {tuple(spacing)} is not {pred.ndim} positive numbers; give mm per axis")
    if not tolerance >= 0:
        raise InputError(f"tolerance: {tolerance} mm is negative; give a distance")
    if not pred.any() or not truth.any():
        perfect = not pred.any() and not truth.any()
        share, distance = (1.0, 0.0) if perfect else (0.0, None)
        return {"hd95": distance, "hd": distance, "assd": distance, "nsd": share, "boundary_dice": share}
    # Only the box around both masks matters; one voxel of background keeps its surface a surface.
    box = (pred | truth).nonzero()
    low, high = (box.amin(0) - 1).clamp_min(0).tolist(), (box.amax(0) + 2).tolist()
    crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    a, b = pred[crop][None, None], truth[crop][None, None]
    common: dict[str, Any] = {"include_background": True, "spacing": [float(s) for s in spacing]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*")  # MONAI warns of its own call
        return _distances(a, b, common, tolerance)


def _distances(a: torch.Tensor, b: torch.Tensor, common: dict[str, Any], tolerance: float) -> dict[str, float | None]:
    edges = get_mask_edges(a[0, 0], b[0, 0], crop=False)
    both, each = (edges[0] & edges[1]).sum(), edges[0].sum() + edges[1].sum()
    return {
        "hd95": float(compute_hausdorff_distance(a, b, percentile=95, **common)),
        "hd": float(compute_hausdorff_distance(a, b, **common)),
        "assd": float(compute_average_surface_distance(a, b, symmetric=True, **common)),
        "nsd": float(compute_surface_dice(a, b, class_thresholds=[tolerance], **common)),
        "boundary_dice": float(2 * both / each),
    }
