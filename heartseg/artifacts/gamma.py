"""Gamma: another contrast, as of another scanner or protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from heartseg.artifacts.tensors import begin, finish, floor, is_number, unchanged
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.errors import InputError

STRONGEST = 10  # of log_gamma: the image is black or white long before


def gamma(image: torch.Tensor, log_gamma: float, spatial_dims: int = 3) -> torch.Tensor:
    """Raise intensities, between the image's darkest (0) and brightest (1), to the power ``exp(log_gamma)``.

    The range and the order of intensities are kept; a constant image stays as it is.

    Args:
        image: ``[..., *spatial]``.
        log_gamma: 0 changes nothing, below 0 brightens, above 0 darkens.
        spatial_dims: 2 or 3.

    Raises InputError for an exponent that is not finite.
    """
    x = begin(image, spatial_dims)
    if not is_number(log_gamma) or not abs(log_gamma) <= STRONGEST:
        raise InputError(f"gamma: log_gamma {log_gamma!r} is none; give a number from -{STRONGEST} to {STRONGEST}")
    if not log_gamma:
        return unchanged(image)
    low = floor(x)
    span = (-floor(-x) - low).clamp_min(torch.finfo(x.dtype).tiny)
    return finish(((x - low) / span).pow_(math.exp(log_gamma)).mul_(span).add_(low), image)


class RandGamma(RandArtifact):
    """A random contrast, brighter or darker, see `gamma`.

    Args:
        prob: how often.
        log_gamma: size of the exponent's logarithm, its sign being drawn; from 0 to this, or a pair (low, high).
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"log_gamma": (0.1, 0.2, 0.3)}
    function = staticmethod(gamma)

    def __init__(self, prob: float = 0.1, log_gamma: Range = 0.3) -> None:
        super().__init__(prob)
        self.log_gamma = self.range("log_gamma", log_gamma)
        if self.log_gamma[1] > STRONGEST:
            raise InputError(f"RandGamma: log_gamma {log_gamma!r} is too much; give {STRONGEST} at most")

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """How strong, and which way."""
        return {"log_gamma": self.uniform(self.log_gamma) * float(self.R.choice([-1, 1]))}


class RandGammad(RandArtifactd):
    """Dictionary form of `RandGamma`."""

    array = RandGamma
