"""Ghosting: periodic motion or pulsation while k-space is acquired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from heartseg.artifacts.tensors import axis_of, broadcast_along, from_batch, half_spectrum, non_negative, to_batch
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.data.stacks import stack_axis
from heartseg.errors import InputError
from heartseg.numbers import is_number


def ghosting(
    image: torch.Tensor,
    intensity: float,
    count: int,
    axis: int = 0,
    restore: float = 0.02,
    spatial_dims: int = 3,
) -> torch.Tensor:
    """Add copies of the object along the phase-encoding axis, ``count`` of them over the field of view.

    Every ``count``-th line of k-space along ``axis`` is scaled by ``1 - intensity``, except the central lines: a comb
    in k-space is a comb of shifted copies in the image. The mean is kept.

    Args:
        image: ``[..., *spatial]``.
        intensity: 0 leaves the image unchanged, 1 removes the lines, more inverts their sign.
        count: number of ghosts, 1 or more; they are 1 / ``count`` of the field of view apart.
        axis: phase-encoding axis, counted among the spatial axes.
        restore: share of the lines, around the centre, that are kept; the centre itself always is.
        spatial_dims: 2 or 3.

    Raises InputError for a negative intensity, a count below 1, or a share outside 0 to 1.
    """
    x = to_batch(image, spatial_dims)
    axis = 1 + axis_of(axis, spatial_dims)
    if not is_number(count) or not float(count).is_integer() or count < 1:
        raise InputError(f"ghosting: count {count!r} is not a count; give a whole number of 1 or more")
    _check_share("ghosting", restore)
    if not non_negative("ghosting: intensity", intensity):
        return image.clone()
    n = x.shape[axis]
    weights = torch.ones(n, dtype=torch.float64)
    weights[:: int(count)] -= intensity
    half = round(restore * n) // 2
    weights[n // 2 - half : n // 2 + max(half, 1) if restore < 1 else n] = 1
    spectrum = torch.fft.rfft(x, dim=axis).mul_(broadcast_along(half_spectrum(weights).to(x), axis, x.ndim))
    return from_batch(torch.fft.irfft(spectrum, n=n, dim=axis), image)


def _check_share(where: str, restore: float) -> float:
    if not is_number(restore) or not 0 <= restore <= 1:
        raise InputError(f"{where}: restore {restore!r} is not a share of the lines; give a number from 0 to 1")
    return float(restore)


class RandGhosting(RandArtifact):
    """Ghosts along a random axis, see `ghosting`.

    Args:
        prob: probability of the artifact.
        intensity: drawn from 0 to this number, or from a pair (low, high).
        count: number of ghosts, fixed or drawn from a pair (low, high).
        axis: phase-encoding axis; None draws one, which never runs through the slices of a stack (see
            `heartseg.data.stacks.stack_axis`).
        restore: share of the central lines that are kept.
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"intensity": (0.25, 0.5, 1)}
    function = staticmethod(ghosting)

    def __init__(
        self,
        prob: float = 0.1,
        intensity: Range = 1.0,
        count: int | Sequence[int] = (4, 10),
        axis: int | None = None,
        restore: float = 0.02,
    ) -> None:
        super().__init__(prob)
        self.intensity = self.strength_range("intensity", intensity)
        self.count = self.count_range("count", count)
        self.axis = self.spatial_axis("axis", axis)
        self.restore = _check_share("RandGhosting", restore)

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the intensity, the number of ghosts and the axis."""
        axes = [axis for axis in range(len(shape)) if axis != stack_axis(spacing)]
        return {
            "intensity": self.uniform(self.intensity),
            "count": self.R.randint(self.count[0], self.count[1] + 1),
            "axis": axes[self.R.randint(len(axes))] if self.axis is None else self.axis,
            "restore": self.restore,
        }


class RandGhostingd(RandArtifactd):
    """Dictionary form of `RandGhosting`."""

    array = RandGhosting
