"""Surface distances by hand, and as MONAI computes them on the whole volume."""

import math
import warnings

import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from heartseg.errors import InputError
from heartseg.metrics import surface_metrics

PERFECT = {"hd95": 0, "hd": 0, "assd": 0, "nsd": 1, "boundary_dice": 1}
ABSENT = {"hd95": None, "hd": None, "assd": None, "nsd": 0, "boundary_dice": 0}


def box(start, stop, shape=(12, 12, 12)):
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def approx(**expected):
    return pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("tolerance", "nsd"), [(0, 36 / 56), (0.99, 36 / 56), (1, 40 / 56), (2.9, 40 / 56), (3, 1)])
def test_a_shifted_box_by_hand(tolerance, nsd):
    """A cube of 4 voxels and the same cube one voxel further along the first axis, 3 x 2 x 1 mm.

    Of the 64 voxels 56 are surface. The 16 of the near face are 3 mm from the other's face; those of the rings
    behind it, 3 times 12, lie on the other's surface; the 4 in the middle of the far face are 1 mm from it,
    across the finest axis.
    """
    pred, truth = box((2, 3, 4), (6, 7, 8)), box((3, 3, 4), (7, 7, 8))
    expected = approx(hd95=3, hd=3, assd=(16 * 3 + 4 * 1) / 56, nsd=nsd, boundary_dice=36 / 56)
    assert surface_metrics(pred, truth, (3, 2, 1), tolerance) == expected
    assert surface_metrics(truth, pred, (3, 2, 1), tolerance) == expected


@pytest.mark.parametrize(("axis", "distance"), [(0, 6.0), (1, 4.0), (2, 1.0)])
def test_spacing_goes_with_its_axis(axis, distance):
    """A single layer, so every voxel is surface, shifted by two voxels across it."""
    start, stop = [2, 2, 2], [7, 7, 7]
    stop[axis] = 3
    pred = box(start, stop)
    truth = pred.roll(2, dims=axis)
    found = surface_metrics(pred, truth, (3, 2, 0.5), 1.0)
    assert found == approx(hd95=distance, hd=distance, assd=distance, nsd=float(distance <= 1), boundary_dice=0)


def test_percentile_and_mean_of_both_directions_by_hand():
    """A line of 40 voxels and its first 38, 1.5 mm apart: of 78 distances 76 are 0, the last two 1.5 and 3 mm.

    The 95th percentile of the longer line's 40 distances lies at 0.95 * 39 = 37.05 of the sorted ones: 5 % of
    the way from 0 to 1.5.
    """
    pred, truth = box((3, 1), (43, 2), (50, 3)), box((3, 1), (41, 2), (50, 3))
    expected = approx(hd95=0.05 * 1.5, hd=3, assd=4.5 / 78, nsd=77 / 78, boundary_dice=76 / 78)
    assert surface_metrics(pred, truth, (1.5, 4.0)) == expected  # 2 mm is the tolerance
    assert surface_metrics(truth, pred, (1.5, 4.0)) == expected


def test_two_voxels_by_hand():
    pred, truth = box((1, 1, 1), (2, 2, 2)), box((3, 2, 4), (4, 3, 5))
    distance = math.sqrt((2 * 1) ** 2 + (1 * 2) ** 2 + (3 * 3) ** 2)
    found = surface_metrics(pred, truth, (1, 2, 3), tolerance=9)
    assert found == approx(hd95=distance, hd=distance, assd=distance, nsd=0, boundary_dice=0)


def test_a_mask_ends_where_the_volume_ends():
    """All of a 4 x 4 image against its middle 2 x 2: the 12 border pixels are surface too."""
    pred, truth = torch.ones(4, 4, dtype=torch.bool), box((1, 1), (3, 3), (4, 4))
    found = surface_metrics(pred, truth, (1, 1), tolerance=1)
    root = math.sqrt(2)
    assert found == approx(hd95=root, hd=root, assd=(4 * root + 8 + 4) / 16, nsd=12 / 16, boundary_dice=0)


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 8)])
def test_empty_masks(shape):
    none, some = torch.zeros(shape, dtype=torch.bool), box((2,) * len(shape), (5,) * len(shape), shape)
    spacing = (1.5,) * len(shape)
    assert surface_metrics(none, none, spacing) == PERFECT
    assert surface_metrics(none, some, spacing) == ABSENT
    assert surface_metrics(some, none, spacing) == ABSENT
    assert surface_metrics(some, some.clone(), spacing) == PERFECT


def blob(seed, shape, low):
    """Smooth random shapes, in several pieces and with holes, which may touch the volume's border."""
    noise = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
    pool = torch.nn.functional.avg_pool3d if len(shape) == 3 else torch.nn.functional.avg_pool2d
    return pool(noise, 3, stride=1, padding=1, count_include_pad=False)[0, 0] > low


def edge(mask):
    """Voxels with a face neighbour outside the mask; outside the volume counts as outside."""
    padded, inner = torch.nn.functional.pad(mask, [1, 1] * mask.ndim), mask.clone()
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            inner &= padded.roll(shift, axis)[(slice(1, -1),) * mask.ndim]
    return mask & ~inner


@pytest.mark.parametrize("place", ["within", "to the border"])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((14, 12, 13), (1, 1, 1)), ((12, 15, 9), (0.7, 1.3, 4.5)), ((24, 21), (2.5, 0.8))]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_box_around_both_masks_changes_nothing(seed, shape, spacing, place):
    """MONAI's functions on the whole volume, of which only a corner is filled."""
    pred, truth = blob(seed, shape, 0.55), blob(seed + 10, shape, 0.55)
    pad = [9, 5] * len(shape) if place == "within" else [0, 8] * len(shape)
    pred, truth = (torch.nn.functional.pad(mask, pad) for mask in (pred, truth))
    found = surface_metrics(pred, truth, spacing, tolerance=1.1)
    a, b = pred[None, None], truth[None, None]
    options = {"include_background": True, "spacing": [float(step) for step in spacing]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "hd95": compute_hausdorff_distance(a, b, percentile=95, **options).item(),
            "hd": compute_hausdorff_distance(a, b, **options).item(),
            "assd": compute_average_surface_distance(a, b, symmetric=True, **options).item(),
            "nsd": compute_surface_dice(a, b, class_thresholds=[1.1], **options).item(),
        }
    assert 0 < expected["nsd"] < 1 and expected["hd"] > expected["assd"] > 0
    one, other = edge(pred), edge(truth)
    expected["boundary_dice"] = 2 * (one & other).sum().item() / (one.sum() + other.sum()).item()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_distances_grow_with_the_spacing():
    pred, truth = blob(3, (10, 11, 12), 0.55), blob(4, (10, 11, 12), 0.55)
    one, two = surface_metrics(pred, truth, (1, 2, 3), 2), surface_metrics(pred, truth, (2, 4, 6), 4)
    for name, factor in {"hd95": 2, "hd": 2, "assd": 2, "nsd": 1, "boundary_dice": 1}.items():
        assert two[name] == pytest.approx(factor * one[name], rel=1e-5)


def test_masks_are_left_as_they_are_and_nobody_is_warned():
    pred, truth = blob(3, (10, 11, 12), 0.55), blob(4, (10, 11, 12), 0.55)
    copies = pred.clone(), truth.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface_metrics(pred, truth, (1, 1, 1))
    assert torch.equal(pred, copies[0]) and torch.equal(truth, copies[1])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"truth": box((1, 1, 1), (3, 3, 3), (12, 12, 11))},
            r"^masks: shapes \(12, 12, 12\) and \(12, 12, 11\) differ",
        ),
        ({"pred": box((1, 1, 1), (3, 3, 3)).float()}, "^masks: torch.float32, torch.bool: not boolean; compare with"),
        ({"truth": box((1, 1, 1), (3, 3, 3)).int()}, "^masks: torch.bool, torch.int32: not boolean; compare with"),
        ({"spacing": (1, 1)}, r"^spacing: \(1, 1\) is not 3 positive numbers; give mm per axis$"),
        ({"spacing": (1, 0, 1)}, r"^spacing: \(1, 0, 1\) is not 3 positive numbers"),
        ({"spacing": (1, -1, 1)}, "^spacing: "),
        ({"spacing": (1, math.nan, 1)}, "^spacing: "),
        ({"spacing": (1, math.inf, 1)}, "^spacing: "),
        ({"tolerance": -0.1}, "^tolerance: -0.1 mm is negative; give a distance$"),
        ({"tolerance": math.nan}, "^tolerance: nan mm"),
    ],
)
@pytest.mark.parametrize("empty", [False, True])
def test_bad_input(change, fault, empty):
    """Also where both masks are empty and nothing would need computing."""
    mask = box((1, 1, 1), (3, 3, 3)) & (not empty)
    with pytest.raises(InputError, match=fault):
        surface_metrics(**{"pred": mask, "truth": mask, "spacing": (1, 1, 1), **change})
