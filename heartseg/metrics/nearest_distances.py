"""Exact distance in mm from each voxel of one set to the nearest voxel of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import KDTree

from heartseg.metrics.masks import Array

# With at least this many points, threads save more time than they take to start, even on a busy machine.
POINTS_FOR_THREADS = 8192
# Pairs that a GPU compares at a time (256 MiB of squares) and in all; with more, a tree on the CPU is faster.
PAIRS_AT_A_TIME = 2**26
PAIRS_ON_GPU = 2**31


def nearest_distances(points: Array, others: Array, spacing: Sequence[float]) -> np.ndarray:
    """Return the distance in mm from each of ``points`` to the nearest of ``others``.

    Args:
        points, others: voxel indices ``[n, axes]`` and ``[m, axes]``, m at least 1; both NumPy arrays or on one GPU.
        spacing: mm per axis.

    Returns:
        ``[n]`` float64. Only the choice of the nearest is subject to rounding: the distance itself is computed
        from whole steps between voxels, so that 3 steps of 1.1 mm are 3.3 mm anywhere in the volume.
    """
    if isinstance(points, torch.Tensor):
        if len(points) * len(others) <= PAIRS_ON_GPU:
            steps = points - others[nearest_by_pairs(points, others, spacing)]
            return _lengths(steps.cpu().numpy(), spacing)
        points, others = points.cpu().numpy(), others.cpu().numpy()
    return _lengths(points - others[nearest_by_tree(points, others, spacing)], spacing)


def nearest_by_tree(points: np.ndarray, others: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return the index of the nearest of ``others`` for each of ``points``.

    The settings of the k-d tree matter if many points are almost equally near, as seen from the centre of a sphere:
    loose cells and large leaves are four times as fast there as scipy's defaults, and cost little elsewhere. They were
    faster than a distance transform of the box in every case measured, also for masks far apart.
    """
    tree = KDTree(others * spacing, leafsize=64, compact_nodes=False)
    threads = torch.get_num_threads() if len(points) >= POINTS_FOR_THREADS else 1
    return tree.query(points * spacing, workers=threads)[1]


def nearest_by_pairs(points: torch.Tensor, others: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Return the same as `nearest_by_tree` by comparing all pairs as tensors, on their device."""
    if len(points) == 0:
        return torch.empty(0, dtype=torch.long, device=points.device)
    index, others = [], others.float()
    for block in points.float().split(max(1, PAIRS_AT_A_TIME // len(others))):
        squared = torch.zeros((), device=points.device)
        for axis, step in enumerate(spacing):
            # Indices are subtracted before the spacing is applied: whole numbers, exact in single precision.
            squared = squared + (block[:, None, axis] - others[None, :, axis]).mul_(step).square_()
        index.append(squared.argmin(dim=1))
    return torch.cat(index)


def _lengths(steps: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    return np.sqrt(np.square(steps * spacing).sum(axis=1))
