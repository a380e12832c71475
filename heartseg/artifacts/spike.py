"""Spikes: single points of k-space that a discharge or a loose contact made too bright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from heartseg.artifacts.tensors import begin, finish, floor, non_negative, numbers, unchanged
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.errors import InputError


def spike(
    image: torch.Tensor,
    intensity: float,
    frequencies: Sequence[Sequence[float]] | torch.Tensor,
    spatial_dims: int = 3,
) -> torch.Tensor:
    """Stripes over the whole image: a spike in k-space is a plane wave in the image, so no transform is needed.

    Each spike adds ``intensity * mean * cos(2 pi sum(f_i r_i / n_i))``: the real part of what a point at
    frequency f reconstructs whose height is ``intensity`` times k-space's centre. The mean is that of the
    image above its darkest voxel, and stays as it is, for frequencies below the grid's.

    Args:
        image: ``[..., *spatial]``.
        intensity: height of each spike, relative to the centre of k-space.
        frequencies: ``[S, spatial_dims]``, whole periods over the field of view per axis, not all 0.
        spatial_dims: 2 or 3.

    Raises InputError for a negative intensity, or frequencies of another shape.
    """
    x = begin(image, spatial_dims)
    waves = numbers("spike: frequencies", frequencies)
    fits = waves.ndim == 2 and waves.shape[1] == spatial_dims and torch.equal(waves, waves.round())
    if not fits or not waves.any(dim=1).all():
        raise InputError(f"spike: frequencies are not [spikes, {spatial_dims}], each one not 0; give whole periods")
    if not non_negative("spike: intensity", intensity):
        return unchanged(image)
    # exp(i (a + b + c)) = exp(ia) exp(ib) exp(ic): the sum over spikes is one thin matrix product.
    factors = [torch.exp(2j * torch.pi * waves[:, k, None] * torch.arange(n) / n) for k, n in enumerate(x.shape[1:])]
    rest = factors[1] if spatial_dims == 2 else (factors[1][:, :, None] * factors[2][:, None, :]).flatten(1)
    left = torch.cat([factors[0].real, -factors[0].imag]).T.to(x)
    right = torch.cat([rest.real, rest.imag]).to(x)
    height = intensity * (x.mean(dim=tuple(range(1, x.ndim)), keepdim=True) - floor(x)).flatten()
    flat = x.reshape(len(x), x.shape[1], -1)
    batch = (left * height[:, None, None], right.expand(len(x), -1, -1))
    return finish(torch.baddbmm(flat, *batch), image)


class RandSpike(RandArtifact):
    """Spikes at random places of k-space, see `spike`.

    Args:
        prob: how often.
        intensity: from 0 to this, or a pair (low, high).
        count: spikes, a number or a pair (low, high).
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"intensity": (0.4, 0.8, 1.2)}
    function = staticmethod(spike)

    def __init__(self, prob: float = 0.1, intensity: Range = 0.8, count: int | Sequence[int] = 5) -> None:
        super().__init__(prob)
        self.intensity = self.range("intensity", intensity)
        self.count = self.whole("count", count)

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """How strong, and where in k-space."""
        frequencies: list[list[float]] = []
        for _ in range(self.R.randint(self.count[0], self.count[1] + 1)):
            place = [float(self.R.randint(n) - n // 2) for n in shape]
            if not any(place):
                place[int(np.argmax(shape))] = 1.0  # the centre is no spike, nor is a whole wave over one voxel
            frequencies.append(place)
        return {"intensity": self.uniform(self.intensity), "frequencies": frequencies}


class RandSpiked(RandArtifactd):
    """Dictionary form of `RandSpike`."""

    array = RandSpike
