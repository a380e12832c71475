"""The numbers of one case by hand, and their means."""

import pytest
import torch

from heartseg.metrics import case_metrics, mean_metrics
from heartseg.metrics.cases import METRICS

CLASSES = {"cavity": 1, "wall": 3}
SPACING = (1.0, 2.0, 5.0)  # 10 mm^3: a hundredth of a millilitre


def label_map(**layers):
    """Label maps of 8 x 8 x 8: each value fills some slices of the first axis, 64 voxels each."""
    volume = torch.zeros(8, 8, 8, dtype=torch.uint8)
    for value, (start, stop) in layers.items():
        volume[start:stop] = int(value[1:])
    return volume


def test_two_classes_by_hand():
    """Value 1: slices 0-3 against 0-2. Value 3: slices 4-5 against 5-6. Value 2 is no class and counts nowhere."""
    pred = label_map(_1=(0, 4), _3=(4, 6), _2=(7, 8))
    truth = label_map(_1=(0, 3), _3=(5, 7), _2=(3, 5))
    found = case_metrics(pred, truth, SPACING, CLASSES, tolerance=0.5)
    cavity, wall = found["classes"]["cavity"], found["classes"]["wall"]
    assert list(found["classes"]) == ["cavity", "wall"]
    assert (cavity["dice"], wall["dice"]) == (2 * 3 / 7, 2 * 1 / 4)
    assert (cavity["pred_ml"], cavity["truth_ml"]) == (2.56, 1.92)
    assert (wall["pred_ml"], wall["truth_ml"]) == (1.28, 1.28)
    # The walls are all surface: 64 voxels meet, 64 lie a slice of 1 mm off, on either side.
    assert wall["hd"] == wall["hd95"] == pytest.approx(1)
    assert wall["assd"] == pytest.approx(0.5)
    assert wall["nsd"] == wall["boundary_dice"] == pytest.approx(0.5)
    assert cavity["hd"] == pytest.approx(1)
    assert found["missing"] == 0
    for metric in METRICS:
        assert found[metric] == pytest.approx((cavity[metric] + wall[metric]) / 2)
    assert found.keys() == {*METRICS, "missing", "classes"}


def test_the_tolerance_is_passed_on():
    pred, truth = label_map(_3=(4, 6)), label_map(_3=(5, 7))
    assert case_metrics(pred, truth, SPACING, {"wall": 3}, tolerance=1)["nsd"] == 1


def test_a_class_that_was_not_found():
    pred, truth = label_map(_1=(0, 4)), label_map(_1=(0, 4), _3=(5, 7))
    found = case_metrics(pred, truth, SPACING, CLASSES)
    assert found["missing"] == 3  # hd95, hd and assd of the wall
    wall = found["classes"]["wall"]
    assert wall == {
        "dice": 0,
        "hd95": None,
        "hd": None,
        "assd": None,
        "nsd": 0,
        "boundary_dice": 0,
        "pred_ml": 0,
        "truth_ml": 1.28,
    }
    # Distances are those of the class that has them; shares count the loss.
    assert (found["dice"], found["nsd"], found["boundary_dice"]) == (0.5, 0.5, 0.5)
    assert (found["hd95"], found["hd"], found["assd"]) == (0, 0, 0)


def test_a_class_that_was_found_where_none_is():
    found = case_metrics(label_map(_1=(0, 4)), label_map(), SPACING, {"cavity": 1})
    assert (found["dice"], found["hd"], found["missing"]) == (0, None, 3)
    assert (found["classes"]["cavity"]["pred_ml"], found["classes"]["cavity"]["truth_ml"]) == (2.56, 0)


def test_two_empty_masks_agree():
    found = case_metrics(label_map(), label_map(), SPACING, CLASSES)
    assert [found[metric] for metric in METRICS] == [1, 0, 0, 0, 1, 1]
    assert found["missing"] == 0


def test_volumes_are_in_millilitres():
    mask = torch.zeros(10, 10, 12, dtype=torch.uint8)
    mask[:10, :10, :10] = 1
    row = case_metrics(mask, mask, (1, 1, 1), {"organ": 1})["classes"]["organ"]
    assert (row["pred_ml"], row["truth_ml"]) == (1, 1)  # a cube of a centimetre


def test_means_leave_out_what_is_missing():
    rows = [{"dice": 0.5, "hd": None}, {"dice": 1.0, "hd": 4.0}, {"dice": 0.0, "hd": 2.0}, {"hd": None}]
    assert mean_metrics(rows, ["dice", "hd", "nsd"]) == {"dice": 0.5, "hd": 3.0, "nsd": None}
    assert mean_metrics([]) == dict.fromkeys(METRICS)
