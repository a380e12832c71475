"""Masks and label maps as plain arrays: checks, and crops to the foreground."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import torch

from heartseg.errors import InputError

# NumPy arrays on the CPU, tensors on a GPU: the operators and slices used by the metrics are the same for both.
Array: TypeAlias = Any


def as_arrays(pred: Any, truth: Any, what: str = "masks") -> tuple[Array, Array]:
    """Return both volumes without metadata: tensors if both are on one GPU, else NumPy arrays (on a CPU without copy).

    Raises InputError for anything that is neither tensor nor array, and for shapes that differ.
    """
    for volume in (pred, truth):
        if not isinstance(volume, torch.Tensor | np.ndarray):
            raise InputError(f"{what}: {type(volume).__name__} is not an array; give tensors or NumPy arrays")
    if pred.shape != truth.shape:
        raise InputError(
            f"{what}: shapes {tuple(pred.shape)} and {tuple(truth.shape)} differ; resample one to the other"
        )
    plain = [v.detach().as_subclass(torch.Tensor) if isinstance(v, torch.Tensor) else v for v in (pred, truth)]
    if all(isinstance(v, torch.Tensor) and v.is_cuda and v.device == plain[0].device for v in plain):
        return plain[0], plain[1]
    one, other = (v.cpu().numpy() if isinstance(v, torch.Tensor) else v for v in plain)
    return one, other


def check_boolean(*masks: Any) -> None:
    """Raise InputError unless every mask is boolean."""
    if any(mask.dtype not in (torch.bool, np.dtype(bool)) for mask in masks):
        kinds = ", ".join(str(mask.dtype) for mask in masks)
        raise InputError(f"masks: {kinds}: not boolean; compare with the label, as in mask == 1")


def count(mask: Array) -> int:
    """Return the number of voxels of a boolean mask."""
    return int(mask.count_nonzero()) if isinstance(mask, torch.Tensor) else int(np.count_nonzero(mask))


def bounds(volume: Array) -> tuple[slice, ...] | None:
    """Return the smallest box around everything that is not zero; None if all is zero.

    Some 20 times as fast as MONAI's `generate_spatial_bounding_box` on a label map of uint8.
    """
    occupied = _occupied_tensor(volume) if isinstance(volume, torch.Tensor) else _occupied_array(volume)
    if any(len(indices) == 0 for indices in occupied):
        return None
    return tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in occupied)


def common_box(boxes: Iterable[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the smallest box that holds these boxes."""
    return tuple(
        slice(min(one.start for one in ranges), max(one.stop for one in ranges)) for ranges in zip(*boxes, strict=True)
    )


def crop(volume: Array, box: tuple[slice, ...]) -> Array:
    """Return the part of a volume inside a box, contiguous, as several passes over it follow."""
    part = volume[box]
    return part.contiguous() if isinstance(part, torch.Tensor) else np.ascontiguousarray(part)


def _occupied_tensor(volume: torch.Tensor) -> list[np.ndarray]:
    """Return, for each axis, the indices at which something is not zero."""
    found, axes = volume != 0, range(volume.ndim)
    lines = [found.any(dim=[other for other in axes if other != axis]) for axis in axes]
    return [line.nonzero()[:, 0].cpu().numpy() for line in lines]


def _occupied_array(volume: np.ndarray) -> list[np.ndarray]:
    """Return the same as `_occupied_tensor`, at memory speed: the bytes of any number type are read as wide words."""
    axes = range(volume.ndim)
    order = sorted(axes, key=lambda axis: -abs(volume.strides[axis]))  # volumes from NIfTI files are in Fortran order
    ordered = np.ascontiguousarray(volume.transpose(order))
    if ordered.size == 0:
        return [np.empty(0, dtype=np.intp) for _ in axes]
    if ordered.dtype.kind == "f":
        ordered = ordered != 0  # minus zero is zero, but has a bit set
    wide = next(width for width in (8, 4, 2, 1) if ordered[0].nbytes % width == 0)
    slabs = ordered.reshape(len(ordered), -1).view(f"u{wide}")
    first = np.bitwise_or.reduce(slabs, axis=1).nonzero()[0]
    if len(first) == 0:
        return [first for _ in axes]
    # The bitwise or of all slabs shows the other axes; only occupied slabs need to be read.
    overlay = np.bitwise_or.reduce(slabs[first[0] : first[-1] + 1], axis=0)
    plane = overlay.view(np.uint8).reshape(*ordered.shape[1:], ordered.itemsize).any(axis=-1)
    occupied = {order[0]: first}
    for place, axis in enumerate(order[1:]):
        occupied[axis] = plane.any(axis=tuple(other for other in range(plane.ndim) if other != place)).nonzero()[0]
    return [occupied[axis] for axis in axes]
