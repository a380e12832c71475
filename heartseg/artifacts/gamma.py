"""Gamma: a different contrast, as from another scanner or protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from heartseg.artifacts.tensors import darkest, from_batch, to_batch
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.errors import InputError
from heartseg.numbers import is_number

MAX_LOG_GAMMA = 10  # the image is all black or white long before


def gamma(image: torch.Tensor, log_gamma: float, spatial_dims: int = 3) -> torch.Tensor:
    """Raise intensities, scaled to 0..1 between the image's darkest and brightest, to the power ``exp(log_gamma)``.

    The range and the order of intensities are kept; a constant image is unchanged.

    Args:
        image: ``[..., *spatial]``.
        log_gamma: 0 changes nothing, a negative value brightens, a positive one darkens.
        spatial_dims: 2 or 3.

    Raises InputError for a ``log_gamma`` that is not a number from -`MAX_LOG_GAMMA` to `MAX_LOG_GAMMA`.
    """
    x = to_batch(image, spatial_dims)
    if not is_number(log_gamma) or not abs(log_gamma) <= MAX_LOG_GAMMA:
        raise InputError(
            f"gamma: log_gamma {log_gamma!r} is out of range; give a number from -{MAX_LOG_GAMMA} to {MAX_LOG_GAMMA}"
        )
    if not log_gamma:
        return image.clone()
    low = darkest(x)
    span = (-darkest(-x) - low).clamp_min(torch.finfo(x.dtype).tiny)
    return from_batch(((x - low) / span).pow_(math.exp(log_gamma)).mul_(span).add_(low), image)


class RandGamma(RandArtifact):
    """Random contrast, brighter or darker, see `gamma`.

    Args:
        prob: probability of the artifact.
        log_gamma: absolute value, drawn from 0 to this number or from a pair (low, high); its sign is random.
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"log_gamma": (0.1, 0.2, 0.3)}
    function = staticmethod(gamma)

    def __init__(self, prob: float = 0.1, log_gamma: Range = 0.3) -> None:
        super().__init__(prob)
        self.log_gamma = self.strength_range("log_gamma", log_gamma)
        if self.log_gamma[1] > MAX_LOG_GAMMA:
            raise InputError(f"RandGamma: log_gamma {log_gamma!r} is out of range; give at most {MAX_LOG_GAMMA}")

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the strength and its sign."""
        return {"log_gamma": self.uniform(self.log_gamma) * float(self.R.choice([-1, 1]))}


class RandGammad(RandArtifactd):
    """Dictionary form of `RandGamma`."""

    array = RandGamma
