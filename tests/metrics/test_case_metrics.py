"""Metrics of one case by hand, and their means."""

import numpy as np
import pytest
import torch
from masks import blob

from heartseg.errors import InputError
from heartseg.metrics import case_metrics, mean_metrics, surface_metrics, volume_ml
from heartseg.metrics.case_metrics import METRICS

CLASSES = {"cavity": 1, "wall": 3}
SPACING = (1.0, 2.0, 5.0)  # 10 mm^3, that is 0.01 mL


def label_map(**layers):
    """Label maps of 8 x 8 x 8: each value fills some slices of the first axis, 64 voxels each."""
    volume = torch.zeros(8, 8, 8, dtype=torch.uint8)
    for value, (start, stop) in layers.items():
        volume[start:stop] = int(value[1:])
    return volume


def test_two_classes_by_hand():
    """Value 1: slices 0-3 against 0-2. Value 3: slices 4-5 against 5-6. Value 2 is not a class and is not counted."""
    pred = label_map(_1=(0, 4), _3=(4, 6), _2=(7, 8))
    truth = label_map(_1=(0, 3), _3=(5, 7), _2=(3, 5))
    found = case_metrics(pred, truth, SPACING, CLASSES, tolerance=0.5)
    cavity, wall = found["classes"]["cavity"], found["classes"]["wall"]
    assert list(found["classes"]) == ["cavity", "wall"]
    assert (cavity["dice"], wall["dice"]) == (2 * 3 / 7, 2 * 1 / 4)
    assert (cavity["pred_ml"], cavity["truth_ml"]) == (2.56, 1.92)
    assert (wall["pred_ml"], wall["truth_ml"]) == (1.28, 1.28)
    # The walls are all surface: 64 voxels coincide, 64 are one slice of 1 mm apart, on either side.
    assert wall["hd"] == wall["hd95"] == pytest.approx(1)
    assert wall["assd"] == pytest.approx(0.5)
    assert wall["nsd"] == wall["boundary_dice"] == pytest.approx(0.5)
    assert cavity["hd"] == pytest.approx(1)
    assert found["missing"] == 0
    for metric in METRICS:
        assert found[metric] == pytest.approx((cavity[metric] + wall[metric]) / 2)
    # Six and five of the eight slices belong to a class.
    assert (found["pred_fraction"], found["truth_fraction"]) == (6 / 8, 5 / 8)
    assert found.keys() == {*METRICS, "missing", "pred_fraction", "truth_fraction", "classes"}


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
    # Distances are those of the other class; shares count the missing one as 0.
    assert (found["dice"], found["nsd"], found["boundary_dice"]) == (0.5, 0.5, 0.5)
    assert (found["hd95"], found["hd"], found["assd"]) == (0, 0, 0)


def test_a_class_that_is_only_predicted():
    found = case_metrics(label_map(_1=(0, 4)), label_map(), SPACING, {"cavity": 1})
    assert (found["dice"], found["hd"], found["missing"]) == (0, None, 3)
    assert (found["classes"]["cavity"]["pred_ml"], found["classes"]["cavity"]["truth_ml"]) == (2.56, 0)


def test_two_empty_masks_agree():
    found = case_metrics(label_map(), label_map(), SPACING, CLASSES)
    assert [found[metric] for metric in METRICS] == [1, 0, 0, 0, 1, 1]
    assert found["missing"] == found["pred_fraction"] == found["truth_fraction"] == 0


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.float32, torch.int64])
@pytest.mark.parametrize("layout", ["tensor", "array", "Fortran"])
def test_each_class_is_compared_as_a_mask(kind, layout):
    """The crop to the box around all classes changes no metric, for any type and layout of the maps."""
    shape, spacing, classes = (20, 16, 12), (1.1, 1.7, 3.0), {"cavity": 1, "wall": 500 if kind != torch.uint8 else 5}
    maps = []
    for seed in (1, 2):
        one, two = (torch.nn.functional.pad(blob(seed + n, (9, 8, 7), 0.5), [3, 2, 5, 3, 4, 7]) for n in (0, 10))
        maps.append(torch.where(one, 1, torch.where(two, classes["wall"], 0)).to(kind))
    rows = {name: [volume == value for volume in maps] for name, value in classes.items()}
    ways = {"tensor": torch.clone, "array": torch.Tensor.numpy, "Fortran": lambda volume: np.asfortranarray(volume)}
    found = case_metrics(*map(ways[layout], maps), spacing, classes)["classes"]
    for name, (pred, truth) in rows.items():
        assert pred.any() and truth.any() and tuple(pred.shape) == shape
        overlap = 2 * (pred & truth).sum().item() / (pred.sum() + truth.sum()).item()
        volumes = {"pred_ml": round(volume_ml(pred, spacing), 3), "truth_ml": round(volume_ml(truth, spacing), 3)}
        assert found[name] == {"dice": overlap, **surface_metrics(pred, truth, spacing), **volumes}


def test_background_as_a_class():
    """Then the maps are not cropped to the foreground."""
    pred, truth = label_map(_1=(0, 4)), label_map(_1=(0, 3))
    found = case_metrics(pred, truth, SPACING, {"rest": 0})
    assert (found["pred_fraction"], found["truth_fraction"]) == (4 / 8, 5 / 8)
    rest = found["classes"]["rest"]
    assert (rest["dice"], rest["pred_ml"], rest["truth_ml"], rest["hd"]) == (2 * 4 / 9, 2.56, 3.2, 1)


@pytest.mark.parametrize(
    ("pred", "spacing", "fault"),
    [
        (torch.zeros(8, 8, 7), SPACING, r"^label maps: shapes \(8, 8, 7\) and \(8, 8, 8\) differ; resample one"),
        (label_map(), (1, 2), r"^spacing: \(1, 2\) is not 3 positive numbers"),
        (label_map(), (1, 2, 0), r"^spacing: \(1, 2, 0\) is not 3 positive numbers"),
    ],
)
def test_invalid_input(pred, spacing, fault):
    with pytest.raises(InputError, match=fault):
        case_metrics(pred, label_map(), spacing, CLASSES)


def test_slices_have_no_volume():
    with pytest.raises(InputError, match="^mask: 2 axes have no volume"):
        case_metrics(label_map()[0], label_map()[0], SPACING[:2], CLASSES)


def test_volumes_are_in_millilitres():
    mask = torch.zeros(10, 10, 12, dtype=torch.uint8)
    mask[:10, :10, :10] = 1
    row = case_metrics(mask, mask, (1, 1, 1), {"organ": 1})["classes"]["organ"]
    assert (row["pred_ml"], row["truth_ml"]) == (1, 1)  # a cube of 1 cm


def test_means_leave_out_missing_values():
    rows = [{"dice": 0.5, "hd": None}, {"dice": 1.0, "hd": 4.0}, {"dice": 0.0, "hd": 2.0}, {"hd": None}]
    assert mean_metrics(rows, ["dice", "hd", "nsd"]) == {"dice": 0.5, "hd": 3.0, "nsd": None}
    assert mean_metrics([]) == dict.fromkeys(METRICS)
