"""Slice dropout: slices that are lost or dim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from heartseg.artifacts.tensors import axis_of, darkest, finite_tensor, from_batch, non_negative, to_batch
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range
from heartseg.data.stacks import slice_axis
from heartseg.errors import InputError


def slice_dropout(
    image: torch.Tensor,
    slices: Sequence[int],
    remaining: float = 0.0,
    axis: int = -1,
    spatial_dims: int = 3,
) -> torch.Tensor:
    """Dim whole slices; the others are kept bit for bit.

    Args:
        image: ``[..., *spatial]``.
        slices: indices of the slices along ``axis``.
        remaining: share of the signal above the image's darkest voxel that is left: 0 is a lost slice.
        axis: axis through the slices, counted among the spatial axes.
        spatial_dims: 2 or 3.

    Raises InputError for a slice that does not exist or a negative ``remaining``.
    """
    x = to_batch(image, spatial_dims)
    axis = 1 + axis_of(axis, spatial_dims)
    n = x.shape[axis]
    chosen = finite_tensor("slice_dropout: slices", slices).flatten().tolist()
    if wrong := [s for s in chosen if not s.is_integer() or not 0 <= s < n]:
        raise InputError(f"slice_dropout: slice {wrong[0]:g} is not one of {n}; count from 0 to {n - 1}")
    if non_negative("slice_dropout: remaining", remaining) == 1 or not chosen:
        return image.clone()
    result, low = x.clone(), darkest(x)
    index = torch.as_tensor(sorted({int(s) for s in chosen}), device=x.device)
    result.index_copy_(axis, index, low + (x.index_select(axis, index) - low) * remaining)
    return from_batch(result, image)


class RandSliceDropout(RandArtifact):
    """Random slices lost or dimmed, see `slice_dropout`.

    Args:
        prob: probability of the artifact.
        share: share of the slices, drawn from 0 to this number or from a pair (low, high). Unless it is 0, at least
            one slice is affected.
        remaining: share of the signal that is left, drawn from 0 to this number or from a pair (low, high).
        axis: axis through the slices; None takes the one with the largest spacing, the last of those within a fifth
            of it.
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {"share": (0.05, 0.1, 0.2)}
    function = staticmethod(slice_dropout)

    def __init__(self, prob: float = 0.1, share: Range = 0.1, remaining: Range = 0.0, axis: int | None = None) -> None:
        super().__init__(prob)
        self.share = self.strength_range("share", share)
        self.remaining = self.strength_range("remaining", remaining)
        if self.share[1] > 1:
            raise InputError(f"{type(self).__name__}: share {share!r} is more than all slices; give at most 1")
        self.axis = self.spatial_axis("axis", axis)

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the slices and what is left of their signal."""
        dims = len(shape)
        axis = slice_axis(spacing) if self.axis is None else self.axis
        n = shape[axis_of(axis, dims)]
        share = self.uniform(self.share)
        lost = self.R.choice(n, size=max(1, round(share * n)) if share else 0, replace=False)
        return {"slices": sorted(lost.tolist()), "remaining": self.uniform(self.remaining), "axis": axis}


class RandSliceDropoutd(RandArtifactd):
    """Dictionary form of `RandSliceDropout`."""

    array = RandSliceDropout
