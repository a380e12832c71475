"""The numbers of one case, and their means over cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from heartseg.metrics.clinical import volume_ml
from heartseg.metrics.empty_masks import count_missing, empty_metrics
from heartseg.metrics.masks import Array, around, as_arrays, bounds, count, crop
from heartseg.metrics.surface_distances import SURFACE, surface_metrics

METRICS = ("dice", *SURFACE)
FRACTIONS = ("pred_fraction", "truth_fraction")


def case_metrics(
    pred: torch.Tensor | np.ndarray,
    truth: torch.Tensor | np.ndarray,
    spacing: Sequence[float],
    classes: Mapping[str, int],
    tolerance: float = 2.0,
) -> dict[str, Any]:
    """Compare two label maps ``[x, y, z]`` of one case, each class by itself.

    Args:
        pred, truth: label maps on one grid.
        spacing: mm per axis.
        classes: name and label value of each foreground class.
        tolerance: mm, of the normalised surface Dice.

    Returns:
        The mean over classes of every metric (None where no class has it), ``missing``: how many distances do
        not exist because one of the masks is empty (the policy: `heartseg.metrics.empty_masks`), ``pred_fraction`` and
        ``truth_fraction``: the share of the map's voxels that are of any class, and ``classes``: per class
        ``dice``, the metrics of `surface_metrics`, and the volumes ``pred_ml`` and ``truth_ml``.

    Raises:
        InputError: shapes that differ, maps that are not 3D, a spacing or tolerance that cannot be.
    """
    one, other = as_arrays(pred, truth, "label maps")
    voxels = max(1, math.prod(one.shape))
    if 0 not in classes.values():
        # The whole maps are read once; what follows for each class reads only the heart.
        boxes = [box for box in (bounds(one), bounds(other)) if box is not None]
        box = around(boxes) if boxes else (slice(0, 0),) * one.ndim
        one, other = crop(one, box), crop(other, box)
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in classes.items():
        p, t = one == value, other == value
        rows[name] = {
            "dice": _dice(p, t),
            **surface_metrics(p, t, spacing, tolerance),
            "pred_ml": round(volume_ml(p, spacing), 3),
            "truth_ml": round(volume_ml(t, spacing), 3),
        }
    marked = (sum(count(volume == value) for value in set(classes.values())) for volume in (one, other))
    return {
        **mean_metrics(list(rows.values())),
        "missing": count_missing(rows.values()),
        **{name: number / voxels for name, number in zip(FRACTIONS, marked, strict=True)},
        "classes": rows,
    }


def _dice(pred: Array, truth: Array) -> float | None:
    sizes = count(pred), count(truth)
    if not all(sizes):
        return empty_metrics(["dice"], both=not any(sizes))["dice"]
    return 2 * count(pred & truth) / sum(sizes)


def mean_metrics(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = METRICS) -> dict[str, float | None]:
    """Mean of each metric over the rows that have it; None where none has."""
    means: dict[str, float | None] = {}
    for metric in metrics:
        values = [row[metric] for row in rows if row.get(metric) is not None]
        means[metric] = float(np.mean(values)) if values else None
    return means
