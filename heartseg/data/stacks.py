"""Stacks of thick slices, such as short-axis cine MRI: which axis runs through them, and slices as channels."""

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
NEAR = 0.8  # axes within a fifth of the largest spacing are equally thick
APART = 2.5  # slices so many times thicker than their voxels are wide were acquired one at a time


def slice_axis(spacing: Sequence[float]) -> int:
    """The axis through the slices: the one with the largest spacing (mm), the last of those within a fifth of it."""
    return [axis for axis, size in enumerate(spacing) if size > NEAR * max(spacing)][-1]


def stack_axis(spacing: Sequence[float]) -> int | None:
    """The axis through a stack of thick slices, each acquired by itself, as in cine MRI; None for a 3D acquisition.

    Told by the spacing (mm): that of a stack's slices is more than 2.5 times that within them.
    """
    through = slice_axis(spacing)
    within = [size for axis, size in enumerate(spacing) if axis != through]
    return through if len(within) == 2 and spacing[through] > APART * max(within) else None


class SliceAxisLastd(MapTransform, InvertibleTransform):
    """Reorder and flip the axes of stacks ``[C, x, y, z]`` so that the slices are counted along the last one.

    Within the slices the axes run as near to the header's R, A and S as they lie, in this order, so that how a
    file happens to be stored does not change what the network sees. ``Invertd`` undoes it.

    Args:
        keys: stacks of one grid.
        slice_axis: 0, 1 or 2, as the file has its axes; None finds it, see `slice_axis`.

    Raises InputError for an axis that is none.
    """

    def __init__(self, keys: KeysCollection, slice_axis: int | None = None, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if slice_axis is not None and (type(slice_axis) is not int or slice_axis not in (0, 1, 2)):
            raise InputError(f"slice_axis: {slice_axis!r} is none; give 0, 1 or 2, or null to find it by the spacing")
        self.slice_axis = slice_axis
        # One for each place of the slice axis, never changed: the threads that fill a cache share this transform.
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
    """Axis codes, such as ``RAS`` or ``RSA``, of a stack ``[C, x, y, z]`` with its slice axis last."""
    affine = image.affine.numpy(force=True)
    if axis is None:
        spacing = nib.affines.voxel_sizes(affine).tolist()
        axis = slice_axis(spacing)
        if stack_axis(spacing) is None:
            name = image.meta.get("filename_or_obj", "image")
            sizes = " x ".join(f"{size:.3g}" for size in spacing)
            logger.warning(f"{name}: {sizes} mm do not tell slices; axis {axis} is taken as through them (slice_axis)")
    # Codes of each voxel axis, without its direction: a slice axis that points to the left is R here.
    own = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    through = int(own[axis])
    return "".join("RAS"[i] for i in [*(i for i in range(3) if i != through), through])


def neighbouring_slices(stack: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Slices with their neighbours as channels: ``[1, x, y, z]`` becomes ``[z, 2 * neighbours + 1, x, y]``.

    Channel ``neighbours`` is the slice itself; beyond the ends of the stack its last slices are repeated.
    """
    slices = stack[0].movedim(-1, 0)
    number = torch.arange(len(slices), device=stack.device)
    offsets = torch.arange(-neighbours, neighbours + 1, device=stack.device)
    return slices[(number[:, None] + offsets).clamp_(0, len(slices) - 1)]
