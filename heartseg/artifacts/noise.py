"""Gaussian noise, as in complex data and normalised images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from heartseg.artifacts.tensors import from_batch, intensity_range, non_negative, to_batch
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range


def noise(image: torch.Tensor, std: float, seed: int = 0, spatial_dims: int = 3) -> torch.Tensor:
    """Add white Gaussian noise of mean 0.

    Args:
        image: ``[..., *spatial]``.
        std: standard deviation, relative to the range from the image's 1st to its 99th percentile.
        seed: the same seed gives the same noise on the same kind of device.
        spatial_dims: 2 or 3.

    Raises InputError for a negative standard deviation.
    """
    x = to_batch(image, spatial_dims)
    if not non_negative("noise: std", std):
        return image.clone()
    return from_batch(torch.addcmul(x, white_noise(x, seed), std * intensity_range(x)), image)


def white_noise(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Return standard normal numbers of the shape, type and device of ``x``, from a separate generator."""
    generator = torch.Generator(x.device).manual_seed(seed)
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


class RandNoise(RandArtifact):
    """Gaussian noise of random strength, see `noise`.

    Args:
        prob: probability of the artifact.
        std: drawn from 0 to this number, or from a pair (low, high).
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"std": (0.015, 0.03, 0.06)}
    function = staticmethod(noise)

    def __init__(self, prob: float = 0.1, std: Range = 0.06) -> None:
        super().__init__(prob)
        self.std = self.strength_range("std", std)

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the standard deviation and a seed."""
        return {"std": self.uniform(self.std), "seed": self.seed()}


class RandNoised(RandArtifactd):
    """Dictionary form of `RandNoise`."""

    array = RandNoise
