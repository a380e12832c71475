"""Rician noise, as magnitude images have it."""

from __future__ import annotations

import torch

from heartseg.artifacts.noise import RandNoise, white
from heartseg.artifacts.tensors import begin, finish, floor, intensity_range, non_negative, unchanged
from heartseg.artifacts.transform import RandArtifactd


def rician(image: torch.Tensor, std: float, seed: int = 0, spatial_dims: int = 3) -> torch.Tensor:
    """The magnitude of a signal with Gaussian noise in both its channels (Gudbjartsson and Patz, 1995).

    ``sqrt((s + a)^2 + b^2)``, where s is the image above its darkest voxel and a, b are Gaussian. Nothing
    becomes darker than that voxel was; the dark background becomes brighter.

    Args:
        image: ``[..., *spatial]``.
        std: of a and b, relative to the range from the image's 1st to its 99th percentile.
        seed: the same seed gives the same noise (on one kind of device).
        spatial_dims: 2 or 3.

    Raises InputError for a negative standard deviation.
    """
    x = begin(image, spatial_dims)
    if not non_negative("rician: std", std):
        return unchanged(image)
    low, scale = floor(x), std * intensity_range(x)
    real, imaginary = white(x[None].expand(2, *x.shape), seed)
    return finish(torch.hypot((x - low).addcmul_(real, scale), imaginary * scale) + low, image)


class RandRician(RandNoise):
    """Rician noise of random strength, see `rician`.

    Args:
        prob: how often.
        std: from 0 to this, or a pair (low, high).
    """

    function = staticmethod(rician)


class RandRiciand(RandArtifactd):
    """Dictionary form of `RandRician`."""

    array = RandRician
