"""Blur: fine detail that the acquisition did not resolve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from heartseg.artifacts.tensors import apply_along, from_batch, non_negative, spacing_of, to_batch
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.errors import InputError

MAX_STD = 1000  # mm, wider than any scan


def blur(
    image: torch.Tensor,
    std: float,
    spacing: float | Sequence[float] | None = None,
    spatial_dims: int = 3,
) -> torch.Tensor:
    """Convolve with a Gaussian that is cut off at 4 standard deviations; the image's border is replicated outside it.

    The result stays within the image's range, and a constant image is unchanged.

    Args:
        image: ``[..., *spatial]``.
        std: standard deviation in mm.
        spacing: voxel size in mm; None takes it from the affine, or 1 mm if there is no affine.
        spatial_dims: 2 or 3.

    Raises InputError for a standard deviation that is negative or above `MAX_STD`.
    """
    x = to_batch(image, spatial_dims)
    sizes = spacing_of(image, spatial_dims, spacing)
    if not _check_std("blur", std):
        return image.clone()
    result = x
    for axis, size in enumerate(sizes):
        result = apply_along(result, _gaussian(x.shape[1 + axis], std / size).to(x), 1 + axis)
    return from_batch(result, image)


def _check_std(where: str, std: float) -> float:
    if non_negative(f"{where}: std", std) > MAX_STD:
        raise InputError(f"{where}: std {std:g} mm is wider than any scan; give at most {MAX_STD} mm")
    return float(std)


def _gaussian(n: int, sigma: float) -> torch.Tensor:
    """Return the matrix ``[n, n]`` that smooths a line of n voxels whose ends are replicated."""
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma) ** 2) if radius else torch.ones(1, dtype=torch.float64)
    kernel /= math.fsum(kernel.tolist())
    rows = torch.arange(n)[:, None]
    columns = (rows + offsets).clamp_(0, n - 1)
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, columns, kernel.expand(n, -1))


class RandBlur(RandArtifact):
    """Gaussian blur of random width, see `blur`.

    Args:
        prob: probability of the artifact.
        std: mm; drawn from 0 to this number, or from a pair (low, high).
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"std": (0.5, 1, 2)}
    function = staticmethod(blur)

    def __init__(self, prob: float = 0.1, std: Range = 2.0) -> None:
        super().__init__(prob)
        self.std = self.strength_range("std", std)
        _check_std("RandBlur", self.std[1])

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the standard deviation."""
        return {"std": self.uniform(self.std), "spacing": list(spacing)}


class RandBlurd(RandArtifactd):
    """Dictionary form of `RandBlur`."""

    array = RandBlur
