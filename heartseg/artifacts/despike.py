"""The opposite of `spike`: points of k-space that stand out from those around them are brought down to them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from heartseg.artifacts.tensors import begin, finish, floor, is_number, unchanged
from heartseg.errors import InputError

CORE = 6  # periods over the field of view: below them anatomy is bright, and no point stands out
REACH = 3  # points on every side that a point is compared with
LEAST = 0.002  # of k-space's centre: what is dimmer makes no stripes that one could see


def despike(image: torch.Tensor, threshold: float = 10.0) -> torch.Tensor:
    """A slice without the stripes that single bright points of its k-space draw over it.

    A spike is an outlier of k-space (Campbell-Washburn et al., Magn Reson Med 75:2517, 2016, who part it from the
    image as what is sparse). Here a point is one where its magnitude is more than ``threshold`` times the geometric
    mean of the 7 x 7 points around it; it is brought down to that mean and keeps its phase. Left alone are
    frequencies of fewer than 6 periods, the two axes of k-space, where what the image's border cuts lies, and points
    below 0.2 % of the centre. A slice with no such point comes back to the bit.

    Slices are looked at one at a time, as they are acquired: a spike in the k-space of a whole stack is one in that
    of every slice. Limits: of a spike on a grid that was resampled since some 15 % of the stripes stay, of one that
    was cropped or padded since nearly half, and more of one in a magnitude image that had no floor to stand on, where
    it is no plain wave. Regular patterns off the axes, such as tag lines, are taken for spikes.

    Args:
        image: ``[..., x, y]``.
        threshold: above 1. Cine MRI without spikes was not seen to pass 5.2 off the axes (80 frames of ACDC); a spike
            of 0.4 of the centre's height mostly stands beyond 100.

    Raises InputError for a threshold of 1 or less, and for what is no image.
    """
    if not is_number(threshold) or not threshold > 1:
        raise InputError(f"despike: threshold {threshold!r} is no ratio above 1; give one such as 10")
    x = begin(image, 2)
    low = floor(x)
    spectrum = torch.fft.rfft2(x - low)
    rows, columns = (torch.fft.fftfreq(n, 1 / n, device=x.device) for n in x.shape[1:])
    columns = columns[: spectrum.shape[-1]].abs()
    judged = (rows[:, None].square() + columns.square() > CORE**2) & (rows[:, None] != 0) & (columns != 0)
    if not judged.any():
        return unchanged(image)
    centre = spectrum[:, :1, :1].real
    magnitude = spectrum.abs()
    # Of an image without noise whole regions of k-space are empty; what is added keeps their logarithm finite.
    logs = torch.log(magnitude + (1e-6 * centre).clamp_min(torch.finfo(x.dtype).tiny))
    around = F.avg_pool2d(_circular(logs, x.shape[-1])[:, None], 2 * REACH + 1, 1)[:, 0]
    spikes = (logs - around > math.log(threshold)) & judged & (magnitude > LEAST * centre)
    if not spikes.any():
        return unchanged(image)
    spectrum = torch.where(spikes, spectrum * torch.exp(around - logs), spectrum)
    found = torch.fft.irfft2(spectrum, s=x.shape[1:]) + low
    return finish(torch.where(spikes.any(dim=(1, 2), keepdim=True), found, x), image)


def _circular(half: torch.Tensor, width: int) -> torch.Tensor:
    """Half of k-space ``[N, x, y // 2 + 1]`` of real images with what lies around it: k-space is periodic.

    What is left of its first column and right of its last mirrors columns that are there, in both axes.
    """
    mirrored = half.roll(-1, 1).flip(1)
    columns = torch.arange(-REACH, half.shape[-1] + REACH, device=half.device) % width
    beyond = columns >= half.shape[-1]
    source = torch.where(beyond, width - columns, columns)
    wide = torch.where(beyond, mirrored[..., source], half[..., source])
    rows = torch.arange(-REACH, half.shape[1] + REACH, device=half.device) % half.shape[1]
    return wide[:, rows]


class Despiked(MapTransform):
    """`despike` on each slice of stacks ``[C, x, y, slices]`` of a dictionary.

    Args:
        keys: the stacks.
        threshold: see `despike`; None leaves them as they are.
        allow_missing_keys: go on where a key is not there.

    Raises InputError for a threshold that is none.
    """

    def __init__(self, keys: KeysCollection, threshold: float | None = 10.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = threshold
        if threshold is not None:
            despike(torch.zeros(1, 1), threshold)  # one place says what a threshold is

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.threshold is None:
            return d
        for key in self.key_iterator(d):
            stack = d[key]
            plain = stack.as_tensor() if isinstance(stack, MetaTensor) else stack
            d[key] = finish(despike(plain.movedim(-1, 0), self.threshold).movedim(0, -1).contiguous(), stack)
        return d
