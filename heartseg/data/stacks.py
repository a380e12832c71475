"""Stacks of thick slices, such as short-axis cine MRI: find the slice axis, and turn slices into channels."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import nibabel as nib
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Orientation

from heartseg.errors import InputError

logger = logging.getLogger("heartseg")
NEARLY_LARGEST = 0.8  # an axis with over this fraction of the largest spacing counts as equally thick
THICK = 2.5  # slices over this many times thicker than their pixels are wide were acquired one at a time


def slice_axis(spacing: Sequence[float]) -> int:
    """Return the axis through the slices: the last of those whose spacing (mm) is within a fifth of the largest."""
    return [axis for axis, size in enumerate(spacing) if size > NEARLY_LARGEST * max(spacing)][-1]


def stack_axis(spacing: Sequence[float]) -> int | None:
    """Return the axis through a stack of separately acquired slices, as in cine MRI; None for a 3D acquisition.

    In a stack, the spacing (mm) between slices is more than 2.5 times the spacing within them.
    """
    through = slice_axis(spacing)
    within = [size for axis, size in enumerate(spacing) if axis != through]
    return through if len(within) == 2 and spacing[through] > THICK * max(within) else None


class SliceAxisLastd(MapTransform, InvertibleTransform):
    """Reorder and flip the axes of stacks ``[C, x, y, z]`` so that the last one runs through the slices.

    The axes within the slices then run as closely as possible along the header's R, A and S, in this order, so that
    the network sees the same however the file is stored. ``Invertd`` undoes it.

    Args:
        keys: stacks on one grid.
        slice_axis: 0, 1 or 2, in the file's order of axes; None finds it with `slice_axis`.

    Raises InputError for any other axis.
    """

    def __init__(self, keys: KeysCollection, slice_axis: int | None = None, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if slice_axis is not None and (type(slice_axis) is not int or slice_axis not in (0, 1, 2)):
            raise InputError(f"slice_axis: {slice_axis!r} is not an axis; give 0, 1 or 2, or null to use the spacing")
        self.slice_axis = slice_axis
        # One for each anatomical slice axis, never changed: the threads that fill a cache share this transform.
        self.turns = {codes: Orientation(axcodes=codes, labels=None) for codes in ("RAS", "RSA", "ASR")}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.turns[stack_codes(d[key], self.slice_axis)](d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            codes = "".join(nib.orientations.aff2axcodes(d[key].affine.numpy(force=True)))
            d[key] = self.turns[codes].inverse(d[key])
        return d


def stack_codes(image: MetaTensor, axis: int | None = None) -> str:
    """Return the axis codes, such as ``RAS`` or ``RSA``, that bring the slice axis of a stack ``[C, x, y, z]`` last."""
    affine = image.affine.numpy(force=True)
    if axis is None:
        spacing = nib.affines.voxel_sizes(affine).tolist()
        axis = slice_axis(spacing)
        if stack_axis(spacing) is None:
            name = image.meta.get("filename_or_obj", "image")
            sizes = " x ".join(f"{size:.3g}" for size in spacing)
            logger.warning(f"{name}: spacing {sizes} mm shows no slices; slice_axis {axis} is assumed")
    # The anatomical axis of each voxel axis, regardless of direction: one that points to the left is R too.
    own = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    through = int(own[axis])
    return "".join("RAS"[i] for i in [*(i for i in range(3) if i != through), through])


def neighbouring_slices(stack: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Return slices with their neighbours as channels: ``[1, x, y, z]`` becomes ``[z, 2 * neighbours + 1, x, y]``.

    Channel ``neighbours`` is the slice itself; beyond the ends of the stack the end slices are repeated.
    """
    slices = stack[0].movedim(-1, 0)
    number = torch.arange(len(slices), device=stack.device)
    offsets = torch.arange(-neighbours, neighbours + 1, device=stack.device)
    return slices[(number[:, None] + offsets).clamp_(0, len(slices) - 1)]
