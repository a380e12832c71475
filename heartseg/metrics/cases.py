"""The numbers of one case, and their means over cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from heartseg.metrics.surface import SURFACE, surface_metrics

METRICS = ("dice", "hd95", "hd", "assd", "nsd", "boundary_dice")


def case_metrics(
    pred: torch.Tensor,
    truth: torch.Tensor,
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
        not exist because one of the masks is empty, and ``classes``: per class the metrics of
        `surface_metrics`, ``dice``, and the volumes ``pred_ml`` and ``truth_ml``.
        Two empty masks agree: Dice 1; one empty: Dice 0.
    """
    millilitre = float(np.prod(spacing)) / 1000
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in classes.items():
        p, t = pred == value, truth == value
        size_p, size_t, overlap = int(p.sum()), int(t.sum()), int((p & t).sum())
        rows[name] = {
            "dice": 2 * overlap / (size_p + size_t) if size_p + size_t else 1.0,
            **surface_metrics(p, t, spacing, tolerance),
            "pred_ml": round(size_p * millilitre, 3),
            "truth_ml": round(size_t * millilitre, 3),
        }
    missing = sum(row[metric] is None for row in rows.values() for metric in SURFACE)
    return {**mean_metrics(list(rows.values())), "missing": missing, "classes": rows}


def mean_metrics(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = METRICS) -> dict[str, float | None]:
    """Mean of each metric over the rows that have it; None where none has."""
    means: dict[str, float | None] = {}
    for metric in metrics:
        values = [row[metric] for row in rows if row.get(metric) is not None]
        means[metric] = float(np.mean(values)) if values else None
    return means
