"""Masks and label maps as plain arrays: checked, and cut to what is not background."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from heartseg.errors import InputError

# NumPy's on the CPU, tensors on a GPU: the operators and slices that the metrics need read the same on both.
Array: TypeAlias = Any


def as_arrays(pred: Any, truth: Any, what: str = "masks") -> tuple[Array, Array]:
    """Both volumes without metadata: tensors where both lie on one GPU, else NumPy arrays. Nothing is copied on a CPU.

    Raises:
        InputError: something that is neither tensor nor array, or shapes that differ.
    """
    for volume in (pred, truth):
        if not isinstance(volume, torch.Tensor | np.ndarray):
            raise InputError(f"{what}: {type(volume).__name__} is no array; give tensors or NumPy arrays")
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


def check_spacing(spacing: Sequence[float], axes: int) -> tuple[float, ...]:
    """The spacing as numbers, or InputError unless it is ``axes`` positive finite ones."""
    try:
        steps = tuple(float(step) for step in spacing)
    except (TypeError, ValueError):
        raise InputError(f"spacing: {spacing!r} is not {axes} positive numbers; give mm per axis") from None
    if len(steps) != axes or not all(0 < step < float("inf") for step in steps):
        told = ", ".join(f"{step:g}" for step in steps)
        raise InputError(f"spacing: ({told}) is not {axes} positive numbers; give mm per axis")
    return steps


def count(mask: Array) -> int:
    """Voxels of a boolean mask."""
    return int(mask.count_nonzero()) if isinstance(mask, torch.Tensor) else int(np.count_nonzero(mask))


def bounds(volume: Array) -> tuple[slice, ...] | None:
    """The smallest box around everything that is not zero; None where all is zero."""
    occupied = _occupied_tensor(volume) if isinstance(volume, torch.Tensor) else _occupied_array(volume)
    if any(len(indices) == 0 for indices in occupied):
        return None
    return tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in occupied)


def around(boxes: Iterable[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box around several."""
    return tuple(
        slice(min(one.start for one in ranges), max(one.stop for one in ranges)) for ranges in zip(*boxes, strict=True)
    )


def crop(volume: Array, box: tuple[slice, ...]) -> Array:
    """The part of a volume inside a box, contiguous, since several passes over it follow."""
    part = volume[box]
    return part.contiguous() if isinstance(part, torch.Tensor) else np.ascontiguousarray(part)


def _occupied_tensor(volume: torch.Tensor) -> list[np.ndarray]:
    """For each axis, the indices at which something is not zero."""
    found, axes = volume != 0, range(volume.ndim)
    lines = [found.any(dim=[other for other in axes if other != axis]) for axis in axes]
    return [line.nonzero()[:, 0].cpu().numpy() for line in lines]


def _occupied_array(volume: np.ndarray) -> list[np.ndarray]:
    """As `_occupied_tensor`, at the speed of memory: whatever the number type, its bytes are read as wide words."""
    axes = range(volume.ndim)
    order = sorted(axes, key=lambda axis: -abs(volume.strides[axis]))  # volumes from NIfTI files run the other way
    laid = np.ascontiguousarray(volume.transpose(order))
    if laid.size == 0:
        return [np.empty(0, dtype=np.intp) for _ in axes]
    if laid.dtype.kind == "f":
        laid = laid != 0  # a minus zero has a bit, and is zero
    wide = next(width for width in (8, 4, 2, 1) if laid[0].nbytes % width == 0)
    slabs = laid.reshape(len(laid), -1).view(f"u{wide}")
    first = np.bitwise_or.reduce(slabs, axis=1).nonzero()[0]
    if len(first) == 0:
        return [first for _ in axes]
    # The others show in the slabs laid over one another, of which only the occupied ones need reading.
    overlay = np.bitwise_or.reduce(slabs[first[0] : first[-1] + 1], axis=0)
    plane = overlay.view(np.uint8).reshape(*laid.shape[1:], laid.itemsize).any(axis=-1)
    occupied = {order[0]: first}
    for place, axis in enumerate(order[1:]):
        occupied[axis] = plane.any(axis=tuple(other for other in range(plane.ndim) if other != place)).nonzero()[0]
    return [occupied[axis] for axis in axes]
