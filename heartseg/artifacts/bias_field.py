"""Bias field: the receive coil is more sensitive in some places than in others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from heartseg.artifacts.tensors import darkest, finite_tensor, from_batch, to_batch
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.errors import InputError


def bias_field(image: torch.Tensor, coefficients: Any, spatial_dims: int = 3) -> torch.Tensor:
    """Multiply an image by a smooth field, the exponential of a polynomial (Van Leemput et al., TMI 1999).

    The signal above the image's darkest voxel is multiplied by ``exp(sum c[i, j, k] x^i y^j z^k)``, where x, y
    and z run from -1 to 1 over the field of view. The darkest voxel is kept, and locally the order of intensities.

    Args:
        image: ``[..., *spatial]``.
        coefficients: ``[p, q, r]`` (``[p, q]`` in 2D), one for each combination of powers, from 0 up along each axis.
        spatial_dims: 2 or 3.

    Raises InputError for coefficients with another number of axes, or ones that are not finite.
    """
    x = to_batch(image, spatial_dims)
    field = finite_tensor("bias_field: coefficients", coefficients)
    if field.ndim != spatial_dims:
        raise InputError(f"bias_field: coefficients do not have {spatial_dims} axes; give one per power")
    if not field.any():
        return image.clone()
    # Axis by axis, from the last to the first, so that only the final product has the size of the volume.
    for k in range(spatial_dims - 1, -1, -1):
        n = x.shape[1 + k]
        place = torch.linspace(-1, 1, n, dtype=torch.float64) if n > 1 else torch.zeros(1, dtype=torch.float64)
        powers = place[:, None] ** torch.arange(field.shape[k])
        if k == 0:
            field, powers = field.to(x), powers.to(x)
        field = torch.tensordot(powers, field, dims=([1], [k])).movedim(0, k)
    gain = field.exp_()
    low = darkest(x)
    return from_batch(torch.addcmul(low * (1 - gain), x, gain), image)


class RandBiasField(RandArtifact):
    """Bias field with random coefficients, see `bias_field`.

    Args:
        prob: probability of the artifact.
        coefficient: largest absolute value of a coefficient, drawn from 0 to this number or from a pair (low, high).
        order: highest total power, 1 or more.
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"coefficient": (0.1, 0.3, 0.5)}
    function = staticmethod(bias_field)

    def __init__(self, prob: float = 0.1, coefficient: Range = 0.5, order: int = 3) -> None:
        super().__init__(prob)
        self.coefficient = self.strength_range("coefficient", coefficient)
        self.order = self.whole_number("order", order)

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the coefficients of all powers up to the order."""
        powers = np.indices((self.order + 1,) * len(shape)).sum(axis=0)
        drawn = self.R.uniform(-1, 1, size=powers.shape) * self.uniform(self.coefficient)
        return {"coefficients": np.where(powers <= self.order, drawn, 0.0).tolist()}


class RandBiasFieldd(RandArtifactd):
    """Dictionary form of `RandBiasField`."""

    array = RandBiasField
