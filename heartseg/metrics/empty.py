"""Empty masks: one policy, stated here and followed by everything that compares two masks.

Both masks empty: they agree, a perfect score: shares (Dice, NSD, boundary Dice) are 1, distances 0. One empty:
shares are 0, and a distance does not exist: it is None, means leave it out, and ``missing`` counts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DISTANCES = ("hd95", "hd", "assd")
SHARES = ("dice", "nsd", "boundary_dice")


def empty_metrics(metrics: Iterable[str], both: bool) -> dict[str, float | None]:
    """The named metrics (of `DISTANCES` and `SHARES`) of two masks of which one is empty, or both are."""
    share, distance = (1.0, 0.0) if both else (0.0, None)
    return {metric: distance if metric in DISTANCES else share for metric in metrics}


def count_missing(rows: Iterable[Mapping[str, float | None]]) -> int:
    """How many distances of these rows do not exist."""
    return sum(row[metric] is None for row in rows for metric in DISTANCES)
