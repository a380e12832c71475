"""Despike, the opposite of `spike`: reduce points of k-space that stand out from their neighbours."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from heartseg.artifacts.tensors import darkest, from_batch, to_batch
from heartseg.errors import InputError
from heartseg.numbers import is_number

CORE = 6  # periods over the field of view: at lower frequencies anatomy itself is bright
REACH = 3  # a point is compared with this many points on every side
MIN_SHARE = 0.002  # of k-space's centre: dimmer points make no visible stripes


def despike(image: torch.Tensor, threshold: float = 10.0) -> torch.Tensor:
    """Remove the stripes that single bright points of k-space cause in a slice.

    A spike is an outlier in k-space (Campbell-Washburn et al., Magn Reson Med 75:2517, 2016, separate it from the
    image as its sparse part). Here a point is a spike if its magnitude is more than ``threshold`` times the geometric
    mean of the 7 x 7 points around it; it is reduced to that mean and keeps its phase. Not changed are frequencies of
    fewer than 6 periods, the two axes of k-space, where the cut at the image's border shows, and points below 0.2 % of
    the centre. A slice without a spike is returned bit for bit.

    Slices are processed one by one, as they are acquired: a spike in the k-space of a whole stack is one in that of
    every slice. Limits: if the image was resampled after the spike arose, some 15 % of the stripes remain; if it was
    cropped or padded, nearly half; and more in a magnitude image whose background is too low for negative values,
    where a spike is not a plain wave. Regular patterns off the axes, such as tag lines, are taken for spikes.

    Args:
        image: ``[..., x, y]``.
        threshold: above 1. In cine MRI without spikes the largest ratio off the axes was 5.2 (80 frames of ACDC);
            a spike of 0.4 of the centre's height is mostly above 100.

    Raises InputError for a threshold of 1 or less, and for a bad image.
    """
    if not is_number(threshold) or not threshold > 1:
        raise InputError(f"despike: threshold {threshold!r} is not a ratio above 1; give one such as 10")
    x = to_batch(image, 2)
    low = darkest(x)
    spectrum = torch.fft.rfft2(x - low)
    rows, columns = (torch.fft.fftfreq(n, 1 / n, device=x.device) for n in x.shape[1:])
    columns = columns[: spectrum.shape[-1]].abs()
    tested = (rows[:, None].square() + columns.square() > CORE**2) & (rows[:, None] != 0) & (columns != 0)
    if not tested.any():
        return image.clone()
    centre = spectrum[:, :1, :1].real
    magnitude = spectrum.abs()
    # Without noise, whole regions of k-space are empty; the small offset keeps their logarithm finite.
    logs = torch.log(magnitude + (1e-6 * centre).clamp_min(torch.finfo(x.dtype).tiny))
    around = F.avg_pool2d(_circular(logs, x.shape[-1])[:, None], 2 * REACH + 1, 1)[:, 0]
    spikes = (logs - around > math.log(threshold)) & tested & (magnitude > MIN_SHARE * centre)
    if not spikes.any():
        return image.clone()
    spectrum = torch.where(spikes, spectrum * torch.exp(around - logs), spectrum)
    found = torch.fft.irfft2(spectrum, s=x.shape[1:]) + low
    return from_batch(torch.where(spikes.any(dim=(1, 2), keepdim=True), found, x), image)


def _circular(half: torch.Tensor, width: int) -> torch.Tensor:
    """Return half of k-space ``[N, x, y // 2 + 1]`` of real images, padded by `REACH`: k-space is periodic.

    Columns left of the first and right of the last mirror existing columns, in both axes.
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
        keys: keys of the stacks.
        threshold: see `despike`; None changes nothing.
        allow_missing_keys: ignore keys that are missing.

    Raises InputError for an invalid threshold.
    """

    def __init__(self, keys: KeysCollection, threshold: float | None = 10.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = threshold
        if threshold is not None:
            despike(torch.zeros(1, 1), threshold)  # raises for an invalid threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.threshold is None:
            return d
        for key in self.key_iterator(d):
            stack = d[key]
            plain = stack.as_tensor() if isinstance(stack, MetaTensor) else stack
            d[key] = from_batch(despike(plain.movedim(-1, 0), self.threshold).movedim(0, -1).contiguous(), stack)
        return d
