"""What every artifact shares: how an image comes in and goes out, its spacing, its floor, its intensity range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
from monai.data import MetaTensor

from heartseg.errors import InputError

SAMPLES = 2**16  # voxels of an image that its percentiles are taken from


def begin(image: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """The image as a plain tensor ``[N, *spatial]`` to compute with: leading axes as one, at least float32.

    Raises InputError for what is no image ``[..., *spatial]`` of numbers, with 2 or 3 spatial axes.
    """
    if not isinstance(image, torch.Tensor) or image.dtype == torch.bool or image.is_complex():
        kind = image.dtype if isinstance(image, torch.Tensor) else type(image).__name__
        raise InputError(f"image: {kind} is no image of numbers; give a real-valued tensor, labels are left alone")
    if spatial_dims not in (2, 3) or image.ndim < spatial_dims or 0 in image.shape:
        raise InputError(
            f"image: shape {tuple(image.shape)} has no {spatial_dims} spatial axes; give [..., x, y] with "
            "spatial_dims=2 or [..., x, y, z] with spatial_dims=3"
        )
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    if plain.dtype != torch.float64:
        plain = plain.float()  # half has neither the FFT nor the digits
    return plain.reshape(-1, *plain.shape[plain.ndim - spatial_dims :])


def unchanged(image: torch.Tensor) -> torch.Tensor:
    """The image to the bit, whatever its type, in memory of its own: what an artifact of strength 0 gives."""
    return image.clone()


def finish(result: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """A result of `begin`'s shape in the image's own shape, type and metadata; whole numbers become float32."""
    result = result.reshape(image.shape)
    if image.is_floating_point():
        result = result.to(image.dtype)
    if result.data_ptr() == image.data_ptr():
        result = result.clone()  # what comes out is never the input itself
    return MetaTensor(result).copy_meta_from(image) if isinstance(image, MetaTensor) else result


def spacing_of(image: torch.Tensor, spatial_dims: int, spacing: float | Sequence[float] | None = None) -> list[float]:
    """Voxel size in mm per spatial axis: as given, else by the image's affine (or affines, of a batch), else 1 mm.

    Raises InputError for a spacing of another length, one that is not positive, or a batch of several spacings.
    """
    if spacing is None:
        if not isinstance(image, MetaTensor):
            return [1.0] * spatial_dims
        if image.affine.shape[-1] <= spatial_dims:
            raise InputError(
                f"image: shape {tuple(image.shape)} has no {spatial_dims} spatial axes in its affine "
                f"{tuple(image.affine.shape)}; give an affine that fits, or the spacing"
            )
        # Whole columns: an axis of a 2D image may point anywhere in space.
        columns = image.affine[..., :-1, :spatial_dims].norm(dim=-2).reshape(-1, spatial_dims)
        if not torch.allclose(columns, columns[:1], rtol=1e-3):
            raise InputError("image: the spacings of this batch differ; take its images one by one")
        spacing = columns[0].tolist()
    sizes = _row("spacing", [spacing] * spatial_dims if isinstance(spacing, Real) else spacing)
    if len(sizes) != spatial_dims or not all(0 < size < math.inf for size in sizes):
        raise InputError(f"spacing: {sizes} is not {spatial_dims} positive numbers; give mm per axis")
    return sizes


def axis_of(axis: int, spatial_dims: int) -> int:
    """A spatial axis, counted from either side, as a positive number. Raises InputError where there is none."""
    if not is_number(axis, whole=True) or not -spatial_dims <= axis < spatial_dims:
        raise InputError(f"axis: {axis} is none of {spatial_dims} spatial axes; count from 0 to {spatial_dims - 1}")
    return axis % spatial_dims


def non_negative(name: str, value: float) -> float:
    """The value, if it is a strength: finite and not below 0. Raises InputError that names it."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise InputError(f"{name}: {value!r} is no strength; give a number of 0 (no artifact) or more")
    return float(value)


def is_number(value: Any, whole: bool = False) -> bool:
    """Whether a value is a number, of Python or NumPy, and no truth value."""
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)


def numbers(name: str, values: Any) -> torch.Tensor:
    """Finite numbers as a float64 tensor on the CPU. Raises InputError that names them for anything else."""
    try:
        tensor = torch.as_tensor(values, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"{name}: {values!r} are no numbers, or rows of unequal length; give a list") from None
    if not tensor.isfinite().all():
        raise InputError(f"{name}: not all are finite; give numbers")
    return tensor


def _row(name: str, values: Any) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        raise InputError(f"{name}: {values!r} is no list of numbers; give one per axis") from None


def floor(image: torch.Tensor) -> torch.Tensor:
    """The darkest value of each image ``[N, *spatial]``, as ``[N, 1, ...]``.

    A magnitude image begins at 0. Normalisation moves it; what multiplies a signal has to start from here.
    """
    return image.amin(dim=tuple(range(1, image.ndim)), keepdim=True)


def intensity_range(image: torch.Tensor) -> torch.Tensor:
    """From the 1st to the 99th percentile of each image ``[N, *spatial]``, as ``[N, 1, ...]``.

    Of a larger image, about 65,536 evenly spaced voxels are looked at.
    """
    flat = image.reshape(len(image), -1)
    stride = max(1, flat.shape[1] // SAMPLES)
    while stride > 1 and math.gcd(stride, image.shape[-1]) > 1:
        stride += 1  # else the samples would fall into the same few columns
    low, high = torch.quantile(flat[:, ::stride], flat.new_tensor([0.01, 0.99]), dim=1)
    return (high - low).reshape(-1, *[1] * (image.ndim - 1))


def half_spectrum(weights: torch.Tensor) -> torch.Tensor:
    """Weights of k-space lines, as those that an ``rfft`` needs.

    The real part of what weighted lines reconstruct, of a real image, is what their mean with the mirrored
    weights reconstructs: so half of k-space is enough.

    Args:
        weights: ``[..., n]``, in the order of acquisition: from frequency -n/2 over 0 at n // 2 upwards.

    Returns:
        ``[..., n // 2 + 1]``, from frequency 0 upwards.
    """
    natural = torch.fft.ifftshift(weights, dim=-1)
    mirrored = natural.flip(-1).roll(1, -1)
    return ((natural + mirrored) / 2)[..., : weights.shape[-1] // 2 + 1]


def beside(vector: torch.Tensor, axis: int, ndim: int) -> torch.Tensor:
    """A vector shaped to be multiplied along one axis of a tensor with ``ndim`` axes."""
    return vector.reshape([-1 if i == axis else 1 for i in range(ndim)])


def along_axis(image: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """Apply a matrix ``[n, n]`` to every line of ``image`` along ``axis``, of length n: one product, no transposing."""
    if axis == image.ndim - 1:
        return image @ matrix.T
    lines = image.reshape(math.prod(image.shape[:axis]), image.shape[axis], -1)
    return torch.bmm(matrix.expand(len(lines), -1, -1), lines).reshape(image.shape)
