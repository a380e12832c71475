"""Surface metrics compared with those of other libraries, on the same masks."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from masks import blob, box, edge
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import distance_transform_edt

from heartseg.metrics import surface_metrics


def by_monai(pred, truth, spacing, tolerance):
    pair = {"y_pred": pred[None, None], "y": truth[None, None], "include_background": True, "spacing": list(spacing)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "hd95": compute_hausdorff_distance(percentile=95, **pair).item(),
            "hd": compute_hausdorff_distance(**pair).item(),
            "assd": compute_average_surface_distance(symmetric=True, **pair).item(),
            "nsd": compute_surface_dice(class_thresholds=[tolerance], **pair).item(),
        }


def by_distance_transforms(pred, truth, spacing, tolerance):
    """Return the metrics by their definitions, on the whole volume."""
    one, other = edge(pred).numpy(), edge(truth).numpy()
    directions = [
        distance_transform_edt(~other, sampling=spacing)[one],
        distance_transform_edt(~one, sampling=spacing)[other],
    ]
    both = np.concatenate(directions)
    return {
        "hd95": max(np.percentile(distances, 95) for distances in directions),
        "hd": both.max(),
        "assd": both.mean(),
        "nsd": (both <= tolerance).mean(),
        "boundary_dice": (both == 0).mean(),
    }


def agree(pred, truth, spacing, tolerance):
    found = surface_metrics(pred, truth, spacing, tolerance)
    expected = by_monai(pred, truth, spacing, tolerance)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=0, abs=1e-4)
    assert found == pytest.approx(by_distance_transforms(pred, truth, spacing, tolerance), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_random_shapes_on_random_grids(seed, axes):
    """From scattered voxels to nearly all of the volume, in volumes of 5 to 25 voxels a side, 0.4 to 6 mm each."""
    draw = np.random.default_rng([seed, axes])
    shape = tuple(int(size) for size in draw.integers(5, 26, axes))
    spacing = tuple(float(step) for step in draw.uniform(0.4, 6, axes))
    pred, truth = (blob(seed + 100 * side, shape, float(draw.choice([0.4, 0.5, 0.6]))) for side in (0, 1))
    assert pred.any() and truth.any()
    agree(pred, truth, spacing, float(draw.uniform(0.5, 6)))


@pytest.mark.parametrize("place", ["within", "to the border"])
@pytest.mark.parametrize(("shape", "spacing"), [((12, 15, 9), (0.7, 1.3, 4.5)), ((24, 21), (2.5, 0.8))])
def test_the_crop_changes_nothing(shape, spacing, place):
    """Only a corner of the volume is filled."""
    pad = [9, 5] * len(shape) if place == "within" else [0, 8] * len(shape)
    agree(*(torch.nn.functional.pad(blob(seed, shape, 0.55), pad) for seed in (0, 1)), spacing, 1.1)


FEW = {
    "all": torch.ones(7, 5, 6, dtype=torch.bool),
    "a voxel": box((0, 2, 3), (1, 3, 4), (7, 5, 6)),
    "its opposite": box((6, 2, 3), (7, 3, 4), (7, 5, 6)),
    "a layer": box((0, 0, 2), (7, 5, 3), (7, 5, 6)),
    "a line": box((3, 0, 5), (4, 5, 6), (7, 5, 6)),
    "a shell": edge(torch.ones(7, 5, 6, dtype=torch.bool)),
}


@pytest.mark.parametrize("names", list(itertools.combinations_with_replacement(FEW, 2)), ids=" and ".join)
def test_shapes_of_few_voxels_or_all(names):
    agree(*(FEW[name] for name in names), (1.5, 0.75, 2.5), 2.5)


def test_a_volume_of_one_voxel():
    one = torch.ones(1, 1, 1, dtype=torch.bool)
    assert surface_metrics(one, one, (1, 1, 1)) == {"hd95": 0, "hd": 0, "assd": 0, "nsd": 1, "boundary_dice": 1}


def test_one_sphere_within_another():
    """The case with the most voxels that are almost equally near."""
    axes = torch.meshgrid(*[torch.arange(-15.0, 16)] * 3, indexing="ij")
    radius = torch.stack(axes).norm(dim=0)
    agree(radius < 4, radius < 14, (1, 1, 1), 9.5)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_surface_distance_of_deepmind(seed, axes):
    """It measures between the corners of voxels on the mask's border.

    Such a corner is half a voxel's diagonal from a surface voxel, and the other way round, so the Hausdorff
    distances differ by a diagonal at most.
    """
    peer = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    shape, spacing = (20, 17, 14)[:axes], (0.8, 1.9, 3.0)[:axes]
    pred, truth = (torch.nn.functional.pad(blob(seed + side, shape, 0.6), [2] * 2 * axes) for side in (0, 50))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = peer.compute_surface_distances(truth.numpy(), pred.numpy(), spacing)
    expected = peer.compute_robust_hausdorff(distances, 100)
    found = surface_metrics(pred, truth, spacing)["hd"]
    assert found > 0
    assert abs(found - expected) <= math.hypot(*spacing)


def test_surface_distance_of_deepmind_on_a_shifted_box():
    """If corners and voxels shift alike, the two agree exactly."""
    peer = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    pred, truth = box((2, 2, 2), (3, 10, 10)), box((7, 2, 2), (8, 10, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = peer.compute_surface_distances(truth.numpy(), pred.numpy(), (3.0, 1.0, 1.0))
    # A layer of one voxel has corners on both sides: the near side of the other is 4 steps away, the far side 5.
    assert peer.compute_robust_hausdorff(distances, 100) == surface_metrics(pred, truth, (3, 1, 1))["hd"] == 15
