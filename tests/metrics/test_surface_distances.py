"""Surface distances by hand, and for any kind of mask."""

import math
import warnings

import numpy as np
import pytest
import torch
from masks import blob, box
from monai.data import MetaTensor

from heartseg.errors import InputError
from heartseg.metrics import surface_metrics

PERFECT = {"hd95": 0, "hd": 0, "assd": 0, "nsd": 1, "boundary_dice": 1}
ABSENT = {"hd95": None, "hd": None, "assd": None, "nsd": 0, "boundary_dice": 0}


def approx(**expected):
    return pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("tolerance", "nsd"), [(0, 36 / 56), (0.99, 36 / 56), (1, 40 / 56), (2.9, 40 / 56), (3, 1)])
def test_a_shifted_box_by_hand(tolerance, nsd):
    """A cube of 4 voxels and the same cube one voxel further along the first axis, 3 x 2 x 1 mm.

    Of the 64 voxels 56 are surface. The 16 of the near face are 3 mm from the other's face; those of the rings
    behind it, 3 times 12, are on the other's surface; the 4 in the middle of the far face are 1 mm from it,
    across the finest axis.
    """
    pred, truth = box((2, 3, 4), (6, 7, 8)), box((3, 3, 4), (7, 7, 8))
    expected = approx(hd95=3, hd=3, assd=(16 * 3 + 4 * 1) / 56, nsd=nsd, boundary_dice=36 / 56)
    assert surface_metrics(pred, truth, (3, 2, 1), tolerance) == expected
    assert surface_metrics(truth, pred, (3, 2, 1), tolerance) == expected


@pytest.mark.parametrize(("axis", "distance"), [(0, 6.0), (1, 4.0), (2, 1.0)])
def test_spacing_belongs_to_its_axis(axis, distance):
    """A single layer, so every voxel is surface, shifted by two voxels across it."""
    start, stop = [2, 2, 2], [7, 7, 7]
    stop[axis] = 3
    pred = box(start, stop)
    truth = pred.roll(2, dims=axis)
    found = surface_metrics(pred, truth, (3, 2, 0.5), 1.0)
    assert found == approx(hd95=distance, hd=distance, assd=distance, nsd=float(distance <= 1), boundary_dice=0)


def test_percentile_and_mean_of_both_directions_by_hand():
    """A line of 40 voxels and its first 38, 1.5 mm apart: of 78 distances 76 are 0, the last two 1.5 and 3 mm.

    The 95th percentile of the longer line's 40 distances is at 0.95 * 39 = 37.05 of the sorted ones: 5 % of
    the way from 0 to 1.5.
    """
    pred, truth = box((3, 1), (43, 2), (50, 3)), box((3, 1), (41, 2), (50, 3))
    expected = approx(hd95=0.05 * 1.5, hd=3, assd=4.5 / 78, nsd=77 / 78, boundary_dice=76 / 78)
    assert surface_metrics(pred, truth, (1.5, 4.0)) == expected  # the tolerance is 2 mm
    assert surface_metrics(truth, pred, (1.5, 4.0)) == expected


def test_two_voxels_by_hand():
    pred, truth = box((1, 1, 1), (2, 2, 2)), box((3, 2, 4), (4, 3, 5))
    distance = math.sqrt((2 * 1) ** 2 + (1 * 2) ** 2 + (3 * 3) ** 2)
    found = surface_metrics(pred, truth, (1, 2, 3), tolerance=9)
    assert found == approx(hd95=distance, hd=distance, assd=distance, nsd=0, boundary_dice=0)


def test_a_mask_ends_where_the_volume_ends():
    """A whole 4 x 4 image against its middle 2 x 2: the 12 border pixels are surface too."""
    pred, truth = torch.ones(4, 4, dtype=torch.bool), box((1, 1), (3, 3), (4, 4))
    found = surface_metrics(pred, truth, (1, 1), tolerance=1)
    root = math.sqrt(2)
    assert found == approx(hd95=root, hd=root, assd=(4 * root + 8 + 4) / 16, nsd=12 / 16, boundary_dice=0)


def test_a_cube_within_a_cube_by_hand():
    """A cube of 3 voxels in the middle of a cube of 7, steps of 1, 1 and 4 mm: 26 voxels of surface in 218.

    Of the inner cube, 24 voxels are 2 mm from a side of the outer one; the centres of its two faces across the
    coarse axis are 3 mm from a side and 8 mm from the top.
    A voxel of the outer cube at (x, y, z) from the centre is max(|x| - 1, 0) mm away along the first axis, likewise
    along the second, and 4 max(|z| - 1, 0) mm along the third. The farthest are the corners, at the root of
    2² + 2² + 8².
    """
    pred, truth = box((4, 4, 4), (7, 7, 7)), box((2, 2, 2), (9, 9, 9))
    beyond = [0, 0, 1, 2]  # steps outside the inner cube, by the distance from the centre
    ring = [(x, y, z) for x in range(-3, 4) for y in range(-3, 4) for z in range(-3, 4) if 3 in map(abs, (x, y, z))]
    away = sorted(math.hypot(beyond[abs(x)], beyond[abs(y)], 4 * beyond[abs(z)]) for x, y, z in ring)
    assert len(away) == 218
    rank = 0.95 * 217  # 206.15
    hd95 = away[206] + (rank - 206) * (away[207] - away[206])
    expected = approx(
        hd95=hd95,
        hd=math.sqrt(72),
        assd=(24 * 2 + 2 * 3 + sum(away)) / 244,
        nsd=(24 + sum(distance <= 2 for distance in away)) / 244,
        boundary_dice=0,
    )
    assert surface_metrics(pred, truth, (1, 1, 4), tolerance=2) == expected
    assert surface_metrics(truth, pred, (1, 1, 4), tolerance=2) == expected


def test_a_square_within_a_square_by_hand():
    """A square of 2 pixels in the middle of one of 6, 1 x 1 mm: 4 pixels, all 2 mm from the 20 of the other's rim.

    Of the rim, 8 are 2 mm from the square, 8 are at the root of 5, and the 4 corners at the root of 8. The rank
    0.95 * 19 = 18.05 is among the corners.
    """
    pred, truth = box((5, 5), (7, 7), (12, 12)), box((3, 3), (9, 9), (12, 12))
    expected = approx(
        hd95=math.sqrt(8),
        hd=math.sqrt(8),
        assd=(4 * 2 + 8 * 2 + 8 * math.sqrt(5) + 4 * math.sqrt(8)) / 24,
        nsd=12 / 24,
        boundary_dice=0,
    )
    assert surface_metrics(pred, truth, (1, 1), tolerance=2) == expected


def test_one_voxel_against_the_whole_image():
    """3 x 3 x 3 voxels: all but the middle one are surface, and the one voxel is that middle."""
    pred, truth = box((1, 1, 1), (2, 2, 2), (3, 3, 3)), torch.ones(3, 3, 3, dtype=torch.bool)
    distances = [math.hypot(x, 2 * y, 3 * z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]
    found = surface_metrics(pred, truth, (1, 2, 3), tolerance=1)
    # 26 distances and the one back, which is 1: the 0 of the voxel itself is not among the 26. At rank 23.75 of
    # 0..25 all are corners.
    corner = math.hypot(1, 2, 3)
    assert found == approx(hd95=corner, hd=corner, assd=(sum(distances) + 1) / 27, nsd=3 / 27, boundary_dice=0)


@pytest.mark.parametrize("steps", range(1, 9))
def test_a_distance_on_the_tolerance_is_within_it(steps):
    """The tolerance is a sum of steps of 1.1 mm: rounding decides nothing, anywhere in the volume."""
    for start in (0, 3, 7):
        pred, truth = box((start, 0), (start + 1, 1), (20, 2)), box((start + steps, 0), (start + steps + 1, 1), (20, 2))
        tolerance = sum([1.1] * steps)
        found = surface_metrics(pred, truth, (1.1, 1), tolerance)
        assert (found["nsd"], found["hd"]) == (1, pytest.approx(tolerance, rel=1e-14))
        assert surface_metrics(pred, truth, (1.1, 1), tolerance - 1e-4)["nsd"] == 0


def test_boundary_dice_is_nsd_at_tolerance_0():
    pred, truth = blob(5, (11, 12, 13), 0.5), blob(6, (11, 12, 13), 0.5)
    found = surface_metrics(pred, truth, (1, 2, 3), tolerance=0)
    assert 0 < found["boundary_dice"] < 1
    assert found["nsd"] == found["boundary_dice"]


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 8)])
def test_empty_masks(shape):
    none, some = torch.zeros(shape, dtype=torch.bool), box((2,) * len(shape), (5,) * len(shape), shape)
    spacing = (1.5,) * len(shape)
    assert surface_metrics(none, none, spacing) == PERFECT
    assert surface_metrics(none, some, spacing) == ABSENT
    assert surface_metrics(some, none, spacing) == ABSENT
    assert surface_metrics(some, some.clone(), spacing) == PERFECT


def layouts(mask):
    """Return the same voxels as another type or layout."""
    spread = torch.zeros(*mask.shape, 2, dtype=torch.bool)
    spread[..., 1] = mask
    backwards = mask.numpy()[::-1].copy()[::-1]
    fortran = np.asfortranarray(mask.numpy())
    return {
        "array": mask.numpy(),
        "Fortran": fortran,
        "Fortran tensor": torch.from_numpy(fortran),
        "every second": spread[..., 1],
        "backwards": backwards,
        "cropped": torch.nn.functional.pad(mask, [3, 2] * mask.ndim)[(slice(3, -2),) * mask.ndim],
        "MetaTensor": MetaTensor(mask, affine=torch.eye(4)),
        "needs a copy": torch.stack([mask, ~mask])[0],
    }


@pytest.mark.parametrize("shape", [(13, 10), (9, 14, 11), (8, 8, 8)])
@pytest.mark.parametrize("kind", layouts(torch.zeros(2, 2, dtype=torch.bool)))
def test_memory_layout_does_not_matter(kind, shape):
    pred, truth = blob(1, shape, 0.6), blob(2, shape, 0.6)
    spacing = (0.9, 1.7, 3.1)[: len(shape)]
    expected = surface_metrics(pred, truth, spacing)
    assert expected["hd95"] > 0
    assert surface_metrics(layouts(pred)[kind], layouts(truth)[kind], spacing) == expected
    assert surface_metrics(pred, layouts(truth)[kind], spacing) == expected


def test_values_are_python_floats():
    """As json and csv need them."""
    found = surface_metrics(blob(1, (9, 9), 0.5), blob(2, (9, 9), 0.5), np.array([1, 2]))
    assert {type(value) for value in found.values()} == {float}


def test_the_gpu_code_path_on_a_cpu(monkeypatch):
    """Tensors stay tensors, like those on a GPU."""
    pairs = [(blob(1, (9, 14, 11), 0.6), blob(2, (9, 14, 11), 0.6)), (box((0, 0), (2, 2), (5, 5)),) * 2]
    pairs += [(torch.zeros(5, 6, dtype=torch.bool), box((0, 0), (2, 2), (5, 6)))]
    spacing = (0.9, 1.7, 3.1)
    expected = [surface_metrics(*pair, spacing[: pair[0].ndim]) for pair in pairs]
    monkeypatch.setattr("heartseg.metrics.surface_distances.as_arrays", lambda pred, truth: (pred, truth))
    assert [surface_metrics(*pair, spacing[: pair[0].ndim]) for pair in pairs] == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_on_a_gpu():
    pred, truth = blob(1, (9, 14, 11), 0.6), blob(2, (9, 14, 11), 0.6)
    expected = surface_metrics(pred, truth, (0.9, 1.7, 3.1))
    assert surface_metrics(pred.cuda(), truth.cuda(), (0.9, 1.7, 3.1)) == pytest.approx(expected, abs=1e-4)
    assert surface_metrics(pred.cuda(), truth, (0.9, 1.7, 3.1)) == expected


def test_distances_grow_with_the_spacing():
    pred, truth = blob(3, (10, 11, 12), 0.55), blob(4, (10, 11, 12), 0.55)
    one, two = surface_metrics(pred, truth, (1, 2, 3), 2), surface_metrics(pred, truth, (2, 4, 6), 4)
    for name, factor in {"hd95": 2, "hd": 2, "assd": 2, "nsd": 1, "boundary_dice": 1}.items():
        assert two[name] == pytest.approx(factor * one[name], rel=1e-5)


def test_masks_are_not_modified_and_nothing_warns():
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
        ({"spacing": 1.5}, "^spacing: 1.5 is not 3 positive numbers; give mm per axis$"),
        ({"spacing": ("1 mm", 1, 1)}, "^spacing: .* is not 3 positive numbers"),
        ({"truth": box((1, 1, 1), (3, 3, 3)).numpy().astype("uint8")}, "^masks: torch.bool, uint8: not boolean"),
        ({"pred": [[True]]}, "^masks: list is not an array; give tensors or NumPy arrays$"),
        ({"tolerance": -0.1}, "^tolerance: -0.1 mm is not a distance; give a number of 0 or more$"),
        ({"tolerance": "a"}, "^tolerance: a mm is not a distance; give a number of 0 or more$"),
        ({"tolerance": math.nan}, "^tolerance: nan mm"),
    ],
)
@pytest.mark.parametrize("empty", [False, True])
def test_invalid_input(change, fault, empty):
    """Also if both masks are empty and nothing has to be computed."""
    mask = box((1, 1, 1), (3, 3, 3)) & (not empty)
    with pytest.raises(InputError, match=fault):
        surface_metrics(**{"pred": mask, "truth": mask, "spacing": (1, 1, 1), **change})


@pytest.mark.parametrize("axes", [1, 4])
def test_masks_with_a_channel_or_without_an_axis(axes):
    mask = torch.ones([3] * axes, dtype=torch.bool)
    with pytest.raises(InputError, match=rf"^masks: {axes} axes; give \[x, y\] or \[x, y, z\], one class without"):
        surface_metrics(mask, mask, [1] * axes)
