"""Rician noise, as in magnitude images."""

from __future__ import annotations

import torch

from heartseg.artifacts.noise import RandNoise, white_noise
from heartseg.artifacts.tensors import darkest, from_batch, intensity_range, non_negative, to_batch
from heartseg.artifacts.transform import RandArtifactd


def rician(image: torch.Tensor, std: float, seed: int = 0, spatial_dims: int = 3) -> torch.Tensor:
    """Return the magnitude of a signal with Gaussian noise in both channels (Gudbjartsson and Patz, 1995).

    That is ``sqrt((s + a)^2 + b^2)``, where s is the image above its darkest voxel and a, b are Gaussian. Nothing
    becomes darker than that voxel; the dark background becomes brighter.

    Args:
        image: ``[..., *spatial]``.
        std: standard deviation of a and b, relative to the range from the image's 1st to its 99th percentile.
        seed: the same seed gives the same noise on the same kind of device.
        spatial_dims: 2 or 3.

    Raises InputError for a negative standard deviation.
    """
    x = to_batch(image, spatial_dims)
    if not non_negative("rician: std", std):
        return image.clone()
    low, scale = darkest(x), std * intensity_range(x)
    real, imaginary = white_noise(x[None].expand(2, *x.shape), seed)
    return from_batch(torch.hypot((x - low).addcmul_(real, scale), imaginary * scale) + low, image)


class RandRician(RandNoise):
    """Rician noise of random strength, see `rician`.

    Args:
        prob: probability of the artifact.
        std: drawn from 0 to this number, or from a pair (low, high).
    """

    function = staticmethod(rician)


class RandRiciand(RandArtifactd):
    """Dictionary form of `RandRician`."""

    array = RandRician
