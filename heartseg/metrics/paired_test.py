"""Paired comparison of two measurements of the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from heartseg.errors import InputError

DIGITS = 12  # differences that agree to this many decimals are ties, so rounding does not decide a rank
ENOUGH = 6  # differing pairs; with fewer, even the most one-sided result has p = 2 / 2**5 > 0.05


def complete_pairs(a: Sequence[float | None], b: Sequence[float | None]) -> list[tuple[float, float]]:
    """Return the pairs in which both numbers are known. Raises InputError for series of different length."""
    if len(a) != len(b):
        raise InputError(f"pairs: {len(a)} and {len(b)} numbers; give one of each for every case")
    return [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]


def paired_test(a: Sequence[float | None], b: Sequence[float | None]) -> dict[str, Any]:
    """Compare two measurements of each case, b against a.

    Args:
        a, b: a number for each case, in the same order; None if it is missing.

    Returns:
        ``n``: the number of complete pairs; ``missing``: the number of others, which are left out; ``mean_a``,
        ``mean_b`` and ``mean_difference`` (b - a) of the n pairs; ``higher`` and ``lower``: the number of pairs in
        which b is higher or lower; and ``p`` of the two-sided signed-rank test (Wilcoxon, 1945), by
        `scipy.stats.wilcoxon` on the pairs that differ: exact for up to 50 pairs without ties, 1 if no pair differs.
        Means and p are None without a complete pair.

    Raises InputError for series of different length.
    """
    pairs = complete_pairs(a, b)
    differences = np.round([y - x for x, y in pairs], DIGITS)
    moved = differences[differences != 0]
    result: dict[str, Any] = dict.fromkeys(("mean_a", "mean_b", "mean_difference", "p"))
    if pairs:
        mean_a, mean_b = (float(np.mean(series)) for series in zip(*pairs, strict=True))
        p = float(wilcoxon(moved).pvalue) if len(moved) else 1.0
        result = {"mean_a": mean_a, "mean_b": mean_b, "mean_difference": mean_b - mean_a, "p": p}
    return {
        "n": len(pairs),
        "missing": len(a) - len(pairs),
        **result,
        "higher": int((moved > 0).sum()),
        "lower": int((moved < 0).sum()),
    }
