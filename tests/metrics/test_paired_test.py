"""Paired comparison: means, and the signed-rank test by enumeration."""

from itertools import product

import numpy as np
import pytest

from heartseg.errors import InputError
from heartseg.metrics.paired_test import ENOUGH, paired_test


def counted(differences):
    """Return the two-sided p by trying every choice of signs; no ties, no zeros."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    sums = np.array([np.dot(ranks, signs) for signs in product((0, 1), repeat=len(ranks))])
    here = ranks[np.asarray(differences) > 0].sum()
    return min(1, 2 * min((sums <= here).mean(), (sums >= here).mean()))


def test_numbers_by_hand():
    """Ranks 1, 3 and 2; of 8 choices of signs one has a sum of 0 and one a sum of 1: p = 2 * 2 / 8."""
    found = paired_test([0.5, 0.6, 0.7], [0.4, 0.9, 0.9])
    assert found == {
        "n": 3,
        "missing": 0,
        "mean_a": pytest.approx(0.6),
        "mean_b": pytest.approx(2.2 / 3),
        "mean_difference": pytest.approx(0.4 / 3),
        "p": pytest.approx(0.5),
        "higher": 2,
        "lower": 1,
    }


@pytest.mark.parametrize("n", range(1, 11))
def test_p_by_enumeration(n):
    random = np.random.default_rng(n)
    a, b = random.random(n), random.random(n)
    assert paired_test(list(a), list(b))["p"] == pytest.approx(counted(b - a))
    assert paired_test(list(b), list(a))["p"] == pytest.approx(counted(b - a))


def test_six_pairs_are_enough_for_5_percent_and_five_are_not():
    assert paired_test([0.0] * ENOUGH, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])["p"] == pytest.approx(2 / 64)
    assert paired_test([0.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])["p"] == pytest.approx(2 / 32)


def test_equal_series_do_not_differ():
    found = paired_test([0.5, 0.6], [0.5, 0.6])
    assert (found["p"], found["mean_difference"], found["higher"], found["lower"]) == (1, 0, 0, 0)


def test_equal_pairs_only_count_for_the_means():
    found = paired_test([0.5, 1, 1, 1], [0.5, 2, 3, 4])
    assert (found["n"], found["mean_difference"], found["p"]) == (4, 1.5, pytest.approx(0.25))


def test_rounding_does_not_decide_a_rank():
    found = paired_test([0.1 + 0.2, 0.5], [0.3, 0.5])
    assert (found["p"], found["higher"], found["lower"]) == (1, 0, 0)


def test_incomplete_pairs_are_left_out_and_counted():
    found = paired_test([1.0, None, 3.0, None], [2.0, 5.0, None, None])
    assert (found["n"], found["missing"], found["mean_a"], found["mean_b"]) == (1, 3, 1, 2)


@pytest.mark.parametrize("series", [[], [None]])
def test_without_a_complete_pair(series):
    found = paired_test(series, series)
    assert (found["n"], found["missing"], found["mean_a"], found["p"]) == (0, len(series), None, None)


def test_series_of_different_length_are_refused():
    with pytest.raises(InputError, match="pairs: 1 and 2 numbers; give one of each for every case"):
        paired_test([1.0], [1.0, 2.0])
