"""The policy for empty masks, followed by every metric."""

import pytest
import torch

from heartseg.metrics import case_metrics, surface_metrics
from heartseg.metrics.case_metrics import METRICS
from heartseg.metrics.empty_masks import count_missing, empty_metrics
from heartseg.metrics.table import MM, TABLE

DISTANCES = ("hd95", "hd", "assd")
SHARES = ("dice", "nsd", "boundary_dice")

PERFECT = dict.fromkeys(DISTANCES, 0) | dict.fromkeys(SHARES, 1)
LOST = dict.fromkeys(DISTANCES) | dict.fromkeys(SHARES, 0)
NONE = torch.zeros(4, 5, 6, dtype=torch.uint8)
SOME = NONE.clone()
SOME[1:3, 2:4, 2:4] = 1


def test_every_metric_is_a_distance_or_a_share():
    assert sorted(METRICS) == sorted(DISTANCES + SHARES)
    assert {name for name in METRICS if TABLE[name].unit == MM} == set(DISTANCES)


def test_the_policy():
    assert empty_metrics(METRICS, both=True) == PERFECT
    assert empty_metrics(METRICS, both=False) == LOST
    assert empty_metrics(["dice"], both=False) == {"dice": 0}


@pytest.mark.parametrize(
    ("pred", "truth", "expected"),
    [(NONE, NONE, PERFECT), (NONE, SOME, LOST), (SOME, NONE, LOST), (SOME, SOME, PERFECT)],
)
def test_every_metric_follows_the_policy(pred, truth, expected):
    surface = surface_metrics(pred == 1, truth == 1, (1, 2, 3))
    assert surface == {name: expected[name] for name in surface}
    case = case_metrics(pred, truth, (1, 2, 3), {"heart": 1})
    assert {name: case["classes"]["heart"][name] for name in METRICS} == expected
    assert {name: case[name] for name in METRICS} == expected
    assert case["missing"] == (3 if expected is LOST else 0)


def test_missing_distances_are_counted():
    rows = [PERFECT, LOST, {**PERFECT, "hd": None}, {**PERFECT, "nsd": None}]
    assert count_missing(rows) == 4
    assert count_missing([]) == 0
