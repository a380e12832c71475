"""Window sizes, and images that are smaller than a window."""

from __future__ import annotations

from collections.abc import Sequence

from heartseg.errors import InputError


def check_window(name: str, sizes: Sequence[int], multiple: int) -> None:
    """Raise InputError for a window that a network cannot halve down to its deepest level.

    A normalisation needs two voxels there, so a window has at least twice the ``multiple`` along each axis.
    """
    least = 2 * multiple
    if multiple > 1 and any(size % multiple or size < least for size in sizes):
        fault = f"{list(sizes)} does not fit the network"
        raise InputError(f"{name}: {fault}; give multiples of {multiple}, at least {least}")


def padding(sizes: Sequence[int], window: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return what an image lacks to fill a window, half on either side, the odd voxel behind as MONAI pads.

    Returns:
        The voxels before the image, for each axis, and the widths for `torch.nn.functional.pad`, last axis first.
    """
    lacking = [max(w - size, 0) for w, size in zip(window, sizes, strict=True)]
    widths = [width for pad in reversed(lacking) for width in (pad // 2, pad - pad // 2)]
    return [pad // 2 for pad in lacking], widths
