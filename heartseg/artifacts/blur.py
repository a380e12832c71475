"""Blur: fine detail that the acquisition never had."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from heartseg.artifacts.tensors import along_axis, begin, finish, non_negative, spacing_of, unchanged
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.errors import InputError

WIDEST = 1000  # mm


def blur(
    image: torch.Tensor,
    std: float,
    spacing: float | Sequence[float] | None = None,
    spatial_dims: int = 3,
) -> torch.Tensor:
    """Convolve with a Gaussian, cut at 4 standard deviations; beyond the image its border goes on.

    Nothing becomes brighter or darker than the image was; a constant stays as it is.

    Args:
        image: ``[..., *spatial]``.
        std: standard deviation, mm.
        spacing: mm; None takes the affine's, or 1 mm.
        spatial_dims: 2 or 3.

    Raises InputError for a standard deviation that is negative or wider than any scan.
    """
    x = begin(image, spatial_dims)
    sizes = spacing_of(image, spatial_dims, spacing)
    if not _width("blur", std):
        return unchanged(image)
    result = x
    for axis, size in enumerate(sizes):
        result = along_axis(result, _gaussian(x.shape[1 + axis], std / size).to(x), 1 + axis)
    return finish(result, image)


def _width(where: str, std: float) -> float:
    if non_negative(f"{where}: std", std) > WIDEST:
        raise InputError(f"{where}: std {std:g} mm is wider than any scan; give {WIDEST} mm at most")
    return float(std)


def _gaussian(n: int, sigma: float) -> torch.Tensor:
    """The matrix ``[n, n]`` that smooths a line of n voxels, its ends repeated beyond it."""
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
        prob: how often.
        std: mm; from 0 to this, or a pair (low, high).
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"std": (0.5, 1, 2)}
    function = staticmethod(blur)

    def __init__(self, prob: float = 0.1, std: Range = 2.0) -> None:
        super().__init__(prob)
        self.std = self.range("std", std)
        _width("RandBlur", self.std[1])

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """How wide."""
        return {"std": self.uniform(self.std), "spacing": list(spacing)}


class RandBlurd(RandArtifactd):
    """Dictionary form of `RandBlur`."""

    array = RandBlur
