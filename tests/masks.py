"""Boolean masks for several tests."""

import torch


def box(start, stop, shape=(12, 12, 12)):
    """Return a filled box from voxel ``start`` to ``stop``, which is excluded."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def blob(seed, shape, low):
    """Return smooth random shapes, in several pieces and with holes, which may touch the volume's border."""
    noise = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
    pool = torch.nn.functional.avg_pool3d if len(shape) == 3 else torch.nn.functional.avg_pool2d
    return pool(noise, 3, stride=1, padding=1, count_include_pad=False)[0, 0] > low


def edge(mask):
    """Return the voxels with a face neighbour outside the mask or outside the volume."""
    padded, inner = torch.nn.functional.pad(mask, [1, 1] * mask.ndim), mask.clone()
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            inner &= padded.roll(shift, axis)[(slice(1, -1),) * mask.ndim]
    return mask & ~inner
