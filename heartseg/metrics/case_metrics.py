"""Metrics of one case, and their means over cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from heartseg.metrics.clinical import volume_ml
from heartseg.metrics.empty_masks import count_missing, empty_metrics
from heartseg.metrics.masks import Array, as_arrays, bounds, common_box, count, crop
from heartseg.metrics.surface_distances import surface_metrics
from heartseg.metrics.table import DICE, OF_SURFACES

METRICS = tuple(metric.name for metric in (DICE, *OF_SURFACES))
FRACTIONS = ("pred_fraction", "truth_fraction")


def case_metrics(
    pred: torch.Tensor | np.ndarray,
    truth: torch.Tensor | np.ndarray,
    spacing: Sequence[float],
    classes: Mapping[str, int],
    tolerance: float = 2.0,
) -> dict[str, Any]:
    """Compare two label maps ``[x, y, z]`` of one case, class by class.

    Args:
        pred, truth: label maps on one grid.
        spacing: mm per axis.
        classes: name and label value of each foreground class.
        tolerance: mm, of the normalised surface Dice.

    Returns:
        The mean over classes of every metric (None if no class has it); ``missing``: the number of distances that do
        not exist because one of the masks is empty (the policy: `heartseg.metrics.empty_masks`); ``pred_fraction`` and
        ``truth_fraction``: the share of the map's voxels that belong to any class; and ``classes``: for each class
        ``dice``, the metrics of `surface_metrics`, and the volumes ``pred_ml`` and ``truth_ml``.

    Raises:
        InputError: shapes that differ, maps that are not 3D, an invalid spacing or tolerance.
    """
    one, other = as_arrays(pred, truth, "label maps")
    voxels = max(1, math.prod(one.shape))
    if 0 not in classes.values():
        # The whole maps are read once; everything after this, for each class, reads only the heart.
        boxes = [box for box in (bounds(one), bounds(other)) if box is not None]
        box = common_box(boxes) if boxes else (slice(0, 0),) * one.ndim
        one, other = crop(one, box), crop(other, box)
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in classes.items():
        p, t = one == value, other == value
        rows[name] = {
            DICE.name: _dice(p, t),
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
        return empty_metrics([DICE.name], both=not any(sizes))[DICE.name]
    return 2 * count(pred & truth) / sum(sizes)


def mean_metrics(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = METRICS) -> dict[str, float | None]:
    """Return the mean of each metric over the rows that have it; None if no row has it."""
    means: dict[str, float | None] = {}
    for metric in metrics:
        values = [row[metric] for row in rows if row.get(metric) is not None]
        means[metric] = float(np.mean(values)) if values else None
    return means
