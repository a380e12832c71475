"""Two series of numbers of the same cases: do they differ?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from heartseg.errors import InputError

DIGITS = 12  # differences that agree to so many decimals are ties: a sum's last digit decides no rank
ENOUGH = 6  # pairs that differ; of fewer even the most lopsided has p = 2 / 2**5 > 0.05


def paired_test(a: Sequence[float | None], b: Sequence[float | None]) -> dict[str, Any]:
    """Compare two measurements of each case, b against a.

    Args:
        a, b: a number for each case, in the same order; None where it is missing.

    Returns:
        ``n`` pairs of which both are there, ``missing``: pairs left out since one is not, ``mean_a``, ``mean_b``
        and ``mean_difference`` (b - a) of the n, ``higher`` and ``lower``: in how many b is, and ``p`` of the
        two-sided signed-rank test (Wilcoxon, 1945), by `scipy.stats.wilcoxon` of the pairs that differ: exact for
        up to 50 without ties. p is 1 where none differs. Means and p are None without a pair.

    Raises:
        InputError: series of different length.
    """
    if len(a) != len(b):
        raise InputError(f"pairs: {len(a)} and {len(b)} numbers; give one of each for every case")
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
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
