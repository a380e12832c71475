"""Nearest voxels of a set, by both methods."""

import numpy as np
import pytest
import torch

from heartseg.metrics import nearest_distances as nearest
from heartseg.metrics.nearest_distances import nearest_by_pairs, nearest_by_tree, nearest_distances

SPACING = (0.7, 1.9, 3.2)


def voxels(seed, size, axes=3):
    return np.random.default_rng(seed).integers(0, 60, (size, axes))


def plainly(points, others):
    """Return all distances at once."""
    steps = (points[:, None] - others[None]) * np.array(SPACING[: points.shape[1]])
    return np.sqrt((steps**2).sum(-1)).min(1)


def test_by_hand():
    points, others = np.array([[0, 0], [4, 1], [9, 9]]), np.array([[0, 2], [4, 0], [9, 9]])
    expected = [6, 3, 0]  # 2 steps of 3 mm; 1 step of 3 mm; the same voxel
    assert nearest_distances(points, others, (2, 3)).tolist() == expected
    assert nearest_distances(torch.tensor(points), torch.tensor(others), (2, 3)).tolist() == expected


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(("few", "many"), [(1, 300), (300, 1), (150, 400)])
def test_both_methods_against_all_distances(few, many, axes):
    points, others = voxels(1, few, axes), voxels(2, many, axes)
    spacing = SPACING[:axes]
    expected = plainly(points, others)
    assert nearest_distances(points, others, spacing) == pytest.approx(expected, rel=1e-12)
    tensors = torch.from_numpy(points), torch.from_numpy(others)
    assert nearest_distances(*tensors, spacing) == pytest.approx(expected, rel=1e-6)


def test_no_points_have_no_distances():
    none, some = np.empty((0, 3), dtype=np.int64), voxels(1, 5)
    assert nearest_distances(none, some, SPACING).shape == (0,)
    assert nearest_distances(torch.from_numpy(none), torch.from_numpy(some), SPACING).shape == (0,)


def test_many_points_are_searched_by_several_threads(monkeypatch):
    points, others = voxels(3, 500), voxels(4, 200)
    alone = nearest_by_tree(points, others, SPACING)
    monkeypatch.setattr(nearest, "POINTS_FOR_THREADS", 1)
    assert np.array_equal(nearest_by_tree(points, others, SPACING), alone)


@pytest.mark.parametrize("at_a_time", [1, 7, 70, 10_000])
def test_pairs_are_compared_in_blocks(monkeypatch, at_a_time):
    points, others = torch.from_numpy(voxels(5, 40)), torch.from_numpy(voxels(6, 35))
    whole = nearest_by_pairs(points, others, SPACING)
    monkeypatch.setattr(nearest, "PAIRS_AT_A_TIME", at_a_time)
    assert torch.equal(nearest_by_pairs(points, others, SPACING), whole)


def test_too_many_pairs_for_a_gpu_use_the_tree(monkeypatch):
    points, others = voxels(7, 40), voxels(8, 35)
    monkeypatch.setattr(nearest, "PAIRS_ON_GPU", 40 * 35 - 1)
    monkeypatch.setattr(nearest, "nearest_by_pairs", None)
    found = nearest_distances(torch.from_numpy(points), torch.from_numpy(others), SPACING)
    assert np.array_equal(found, nearest_distances(points, others, SPACING))


def test_distances_far_from_the_origin_are_as_exact():
    """Whole steps are subtracted before they are scaled to mm."""
    points, others = np.array([[100_000, 5, 5]]), np.array([[100_003, 5, 5]])
    assert nearest_distances(points, others, (1.1, 1, 1)).item() == 3 * 1.1
    assert nearest_distances(torch.from_numpy(points), torch.from_numpy(others), (1.1, 1, 1)).item() == 3 * 1.1
