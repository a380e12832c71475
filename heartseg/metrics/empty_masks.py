"""The policy for empty masks, which everything that compares two masks follows.

If both masks are empty they agree perfectly: shares (Dice, NSD, boundary Dice) are 1, distances 0. If one is empty,
shares are 0 and distances do not exist: they are None, means leave them out, and ``missing`` counts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from heartseg.metrics.table import MM, TABLE, metrics_in


def empty_metrics(metrics: Iterable[str], both: bool) -> dict[str, float | None]:
    """Return these metrics of `heartseg.metrics.table` for two masks of which one or both are empty."""
    share, distance = (1.0, 0.0) if both else (0.0, None)
    return {metric: distance if TABLE[metric].unit == MM else share for metric in metrics}


def count_missing(rows: Iterable[Mapping[str, float | None]]) -> int:
    """Return the number of distances that do not exist in these rows."""
    return sum(row[metric.name] is None for row in rows for metric in metrics_in(row) if metric.unit == MM)
