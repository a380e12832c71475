"""Spikes: single points of k-space made too bright by a discharge or a loose contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from heartseg.artifacts.tensors import darkest, finite_tensor, from_batch, non_negative, to_batch
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.errors import InputError


def spike(
    image: torch.Tensor,
    intensity: float,
    frequencies: Sequence[Sequence[float]] | torch.Tensor,
    spatial_dims: int = 3,
) -> torch.Tensor:
    """Add stripes over the whole image: a spike in k-space is a plane wave in the image, so no transform is needed.

    Each spike adds ``intensity * mean * cos(2 pi sum(f_i r_i / n_i))``: the real part of the reconstruction of a point
    at frequency f that is ``intensity`` times as high as k-space's centre. ``mean`` is that of the image above its
    darkest voxel; it is kept, for frequencies below the grid's.

    Args:
        image: ``[..., *spatial]``.
        intensity: height of each spike, relative to the centre of k-space.
        frequencies: ``[S, spatial_dims]``, whole periods over the field of view per axis; no row is all 0.
        spatial_dims: 2 or 3.

    Raises InputError for a negative intensity, and for frequencies of another shape or that are not whole or all 0.
    """
    x = to_batch(image, spatial_dims)
    waves = finite_tensor("spike: frequencies", frequencies)
    fits = waves.ndim == 2 and waves.shape[1] == spatial_dims and torch.equal(waves, waves.round())
    if not fits or not waves.any(dim=1).all():
        raise InputError(
            f"spike: frequencies are not [spikes, {spatial_dims}] whole numbers; give whole periods, not all 0"
        )
    if not non_negative("spike: intensity", intensity):
        return image.clone()
    # exp(i (a + b + c)) = exp(ia) exp(ib) exp(ic): the sum over spikes is one thin matrix product.
    factors = [torch.exp(2j * torch.pi * waves[:, k, None] * torch.arange(n) / n) for k, n in enumerate(x.shape[1:])]
    rest = factors[1] if spatial_dims == 2 else (factors[1][:, :, None] * factors[2][:, None, :]).flatten(1)
    left = torch.cat([factors[0].real, -factors[0].imag]).T.to(x)
    right = torch.cat([rest.real, rest.imag]).to(x)
    height = intensity * (x.mean(dim=tuple(range(1, x.ndim)), keepdim=True) - darkest(x)).flatten()
    flat = x.reshape(len(x), x.shape[1], -1)
    batch = (left * height[:, None, None], right.expand(len(x), -1, -1))
    return from_batch(torch.baddbmm(flat, *batch), image)


class RandSpike(RandArtifact):
    """Spikes at random points of k-space, see `spike`.

    Args:
        prob: probability of the artifact.
        intensity: drawn from 0 to this number, or from a pair (low, high).
        count: number of spikes, fixed or drawn from a pair (low, high).
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"intensity": (0.4, 0.8, 1.2)}
    function = staticmethod(spike)

    def __init__(self, prob: float = 0.1, intensity: Range = 0.8, count: int | Sequence[int] = 5) -> None:
        super().__init__(prob)
        self.intensity = self.strength_range("intensity", intensity)
        self.count = self.count_range("count", count)

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the intensity and the points of k-space."""
        frequencies: list[list[float]] = []
        for _ in range(self.R.randint(self.count[0], self.count[1] + 1)):
            place = [float(self.R.randint(n) - n // 2) for n in shape]
            if not any(place):
                place[int(np.argmax(shape))] = 1.0  # the centre is not a spike, nor is a whole wave over one voxel
            frequencies.append(place)
        return {"intensity": self.uniform(self.intensity), "frequencies": frequencies}


class RandSpiked(RandArtifactd):
    """Dictionary form of `RandSpike`."""

    array = RandSpike
