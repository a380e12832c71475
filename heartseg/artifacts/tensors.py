"""Helpers that the artifacts share: images to and from plain batches, spacing, intensities and k-space lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.data import MetaTensor

from heartseg.errors import InputError
from heartseg.numbers import check_spacing, is_number

SAMPLES = 2**16  # about this many voxels of an image are used for its percentiles


def to_batch(image: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """Return an image as a plain tensor ``[N, *spatial]`` of at least float32, its leading axes merged into one.

    Raises InputError unless it is a real-valued tensor ``[..., *spatial]`` with 2 or 3 spatial axes.
    """
    if not isinstance(image, torch.Tensor) or image.dtype == torch.bool or image.is_complex():
        kind = image.dtype if isinstance(image, torch.Tensor) else type(image).__name__
        raise InputError(
            f"image: {kind} is not an image of numbers; give a real-valued tensor (labels are not changed)"
        )
    if spatial_dims not in (2, 3) or image.ndim < spatial_dims or 0 in image.shape:
        raise InputError(
            f"image: shape {tuple(image.shape)} does not have {spatial_dims} spatial axes; give [..., x, y] with "
            "spatial_dims=2 or [..., x, y, z] with spatial_dims=3"
        )
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    if plain.dtype != torch.float64:
        plain = plain.float()  # half precision has no FFT on the CPU and too few digits
    return plain.reshape(-1, *plain.shape[plain.ndim - spatial_dims :])


def from_batch(result: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return a result of `to_batch` in the shape, type and with the metadata of the image; integers become float32."""
    result = result.reshape(image.shape)
    if image.is_floating_point():
        result = result.to(image.dtype)
    if result.data_ptr() == image.data_ptr():
        result = result.clone()  # the result never shares memory with the input
    return MetaTensor(result).copy_meta_from(image) if isinstance(image, MetaTensor) else result


def spacing_of(image: torch.Tensor, spatial_dims: int, spacing: float | Sequence[float] | None = None) -> list[float]:
    """Return the voxel size in mm per spatial axis: as given, else from the affine (or a batch's affines), else 1 mm.

    Raises InputError for a spacing of another length, one that is not positive, or a batch with several spacings.
    """
    if spacing is None:
        if not isinstance(image, MetaTensor):
            return [1.0] * spatial_dims
        if image.affine.shape[-1] <= spatial_dims:
            raise InputError(
                f"image: shape {tuple(image.shape)} does not have {spatial_dims} spatial axes in its affine "
                f"{tuple(image.affine.shape)}; give an affine that fits, or the spacing"
            )
        # The norm of the whole columns: an axis of a 2D image may point anywhere in space.
        columns = image.affine[..., :-1, :spatial_dims].norm(dim=-2).reshape(-1, spatial_dims)
        if not torch.allclose(columns, columns[:1], rtol=1e-3):
            raise InputError("image: the spacings of this batch differ; process its images one by one")
        spacing = columns[0].tolist()
    sizes: Any = [spacing] * spatial_dims if is_number(spacing) else spacing
    return list(check_spacing(sizes, spatial_dims))


def axis_of(axis: int, spatial_dims: int) -> int:
    """Return a spatial axis, counted from either end, as an index from 0. Raises InputError if there is none."""
    if not is_number(axis, whole=True) or not -spatial_dims <= axis < spatial_dims:
        raise InputError(f"axis: {axis} is not one of {spatial_dims} spatial axes; count from 0 to {spatial_dims - 1}")
    return axis % spatial_dims


def non_negative(name: str, value: float) -> float:
    """Return a strength as a float. Raises InputError, with its name, unless it is finite and not negative."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise InputError(f"{name}: {value!r} is not a strength; give a number of 0 (no artifact) or more")
    return float(value)


def finite_tensor(name: str, values: Any) -> torch.Tensor:
    """Return finite numbers as a float64 tensor on the CPU. Raises InputError, with their name, for anything else."""
    try:
        tensor = torch.as_tensor(values, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"{name}: {values!r} are not numbers, or rows of unequal length; give a list") from None
    if not tensor.isfinite().all():
        raise InputError(f"{name}: not all are finite; give numbers")
    return tensor


def darkest(image: torch.Tensor) -> torch.Tensor:
    """Return the darkest value of each image ``[N, *spatial]``, as ``[N, 1, ...]``.

    Magnitude images start at 0, but normalisation shifts that, so whatever scales the signal takes this value as zero.
    """
    return image.amin(dim=tuple(range(1, image.ndim)), keepdim=True)


def intensity_range(image: torch.Tensor) -> torch.Tensor:
    """Return the range from the 1st to the 99th percentile of each image ``[N, *spatial]``, as ``[N, 1, ...]``.

    For larger images the percentiles are those of about `SAMPLES` evenly spaced voxels.
    """
    flat = image.reshape(len(image), -1)
    stride = max(1, flat.shape[1] // SAMPLES)
    while stride > 1 and math.gcd(stride, image.shape[-1]) > 1:
        stride += 1  # otherwise the samples would fall into the same few columns
    low, high = torch.quantile(flat[:, ::stride], flat.new_tensor([0.01, 0.99]), dim=1)
    return (high - low).reshape(-1, *[1] * (image.ndim - 1))


def half_spectrum(weights: torch.Tensor) -> torch.Tensor:
    """Return the weights of k-space lines for the half of k-space that ``rfft`` computes.

    For a real image, the real part of the reconstruction from weighted lines equals the reconstruction with the mean
    of the weights and the mirrored weights, so half of k-space is enough.

    Args:
        weights: ``[..., n]``, in the order of acquisition: from frequency -n/2 upwards, with 0 at n // 2.

    Returns:
        ``[..., n // 2 + 1]``, from frequency 0 upwards.
    """
    natural = torch.fft.ifftshift(weights, dim=-1)
    mirrored = natural.flip(-1).roll(1, -1)
    return ((natural + mirrored) / 2)[..., : weights.shape[-1] // 2 + 1]


def broadcast_along(vector: torch.Tensor, axis: int, ndim: int) -> torch.Tensor:
    """Return a vector shaped to broadcast along one axis of a tensor with ``ndim`` axes."""
    return vector.reshape([-1 if i == axis else 1 for i in range(ndim)])


def apply_along(image: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """Apply a matrix ``[n, n]`` to every line of ``image`` along ``axis``, in one product without a transposition."""
    if axis == image.ndim - 1:
        return image @ matrix.T
    lines = image.reshape(math.prod(image.shape[:axis]), image.shape[axis], -1)
    return torch.bmm(matrix.expand(len(lines), -1, -1), lines).reshape(image.shape)
