"""Empty masks: one policy, stated here and followed by everything that compares two masks.

Both masks empty: they agree, a perfect score: shares (Dice, NSD, boundary Dice) are 1, distances 0. One empty:
shares are 0, and a distance does not exist: it is None, means leave it out, and ``missing`` counts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from heartseg.metrics.table import MM, TABLE, metrics_in


def empty_metrics(metrics: Iterable[str], both: bool) -> dict[str, float | None]:
    """Return the named metrics, of `heartseg.metrics.table`, of two masks of which one is empty, or both are."""
    share, distance = (1.0, 0.0) if both else (0.0, None)
    return {metric: distance if TABLE[metric].unit == MM else share for metric in metrics}


def count_missing(rows: Iterable[Mapping[str, float | None]]) -> int:
    """Return how many distances of these rows do not exist."""
    return sum(row[metric.name] is None for row in rows for metric in metrics_in(row) if metric.unit == MM)
