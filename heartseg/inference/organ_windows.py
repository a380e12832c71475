"""Sliding windows that visit only what decides the mask of one organ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import Inferer
from monai.utils import fall_back_tuple
from scipy import ndimage

from heartseg.errors import InputError
from heartseg.inference.windows import check_window, padding

# Resampling the result back to the scan's grid mixes neighbouring voxels, so the windows over this many
# voxels around the organ are visited too.
MARGIN = 2


class OrganWindowInferer(Inferer):
    """Gaussian-weighted sliding windows, visited outwards from the centre until one organ is complete.

    A chest scan has about 50 windows, and the heart is in a dozen of them. Windows are visited in the order of their
    distance from the image's centre until foreground of at least ``min_volume`` voxels is found; from then on only
    windows that touch the connected component found so far, until every window over the component and a margin of two
    voxels has been visited. There the result equals that of ``monai.inferers.SlidingWindowInferer`` (mode gaussian)
    with the same arguments, so the component is one of those that plain inference finds. Other components may be
    missing: use it where one organ is wanted, followed by ``KeepLargestConnectedComponent``. If nothing is found, every
    window is visited.

    Args:
        roi_size: window in voxels, one number per axis.
        overlap: share of a window that its neighbour covers, 0 <= overlap < 1.
        sw_batch_size: windows per call of the network.
        min_volume: voxels of the smallest component that counts as the organ; smaller ones are specks.
        exhaustive: visit all windows (plain sliding-window inference, for comparison).
        multiple: the product of the network's strides, which a window has to be a multiple of.

    The call takes an image ``[B, C, *spatial]`` and a network that maps ``[N, C, *roi_size]`` to logits
    ``[N, classes, *roi_size]``, class 0 being the background; it returns logits ``[B, classes, *spatial]``,
    in which voxels that no visited window covers are background (logit 0 against -20).

    Raises InputError for an overlap out of range, and for a window that does not fit the network.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        sw_batch_size: int = 2,
        min_volume: float = 5000,
        exhaustive: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        if not 0 <= overlap < 1:
            raise InputError(f"overlap: {overlap} is not in [0, 1); give the overlap fraction of neighbouring windows")
        self.roi_size = tuple(roi_size)
        check_window("roi_size", self.roi_size, multiple)
        self.overlap = overlap
        self.sw_batch_size = sw_batch_size
        self.min_volume = min_volume
        self.exhaustive = exhaustive
        self.visited = 0  # windows visited, and all windows, of the last call
        self.windows = 0

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        self.visited = self.windows = 0
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        logits = torch.cat([self._one(image[None], network, args, kwargs) for image in plain])
        return MetaTensor(logits, meta=inputs.meta) if isinstance(inputs, MetaTensor) else logits

    def _one(self, image: torch.Tensor, network: Callable[..., torch.Tensor], args: Any, kwargs: Any) -> torch.Tensor:
        size = tuple(image.shape[2:])
        roi = fall_back_tuple(self.roi_size, size)
        before, widths = padding(size, roi)
        image = F.pad(image, widths) if any(widths) else image
        padded = tuple(image.shape[2:])
        step = [max(1, int(r * (1 - self.overlap))) if p > r else r for r, p in zip(roi, padded, strict=True)]
        windows = dense_patch_slices(padded, roi, step)
        weight = compute_importance_map(roi, mode="gaussian", sigma_scale=0.125, device=image.device)
        starts = np.array([[axis.start for axis in window] for window in windows])
        stops = starts + np.array(roi)
        distance = np.abs((starts + stops) / 2 - np.array(padded) / 2).max(axis=1)
        order = np.lexsort((np.arange(len(windows)), distance))
        todo = np.ones(len(windows), dtype=bool)
        total: torch.Tensor | None = None
        count = torch.zeros(padded, device=image.device)
        self.windows += len(windows)

        # Windows that the organ still needs; None until it is found.
        needed: np.ndarray | None = None
        while todo.any():
            if self.exhaustive:
                batch = order[todo[order]]
            elif needed is None:
                batch = order[todo[order]][: self.sw_batch_size]
            else:
                batch = order[(todo & needed)[order]]
            if not len(batch):
                break
            for first in range(0, len(batch), self.sw_batch_size):
                part = batch[first : first + self.sw_batch_size]
                crops = torch.cat([image[(slice(None), slice(None), *windows[i])] for i in part])
                output = network(crops, *args, **kwargs).float()
                if total is None:
                    total = torch.zeros((output.shape[1], *padded), device=image.device)
                for i, logits in zip(part, output, strict=True):
                    total[(slice(None), *windows[i])] += logits * weight
                    count[windows[i]] += weight
            todo[batch] = False
            self.visited += len(batch)
            if not self.exhaustive and total is not None:
                needed = self._windows_of_organ(total, starts, stops)
        assert total is not None
        seen = count > 0
        logits = torch.where(seen, total / count.clamp_min(1e-12), 0.0)
        logits[1:] = torch.where(seen, logits[1:], -20.0)
        inner = tuple(slice(start, start + length) for start, length in zip(before, size, strict=True))
        return logits[(slice(None), *inner)][None]

    def _windows_of_organ(self, total: torch.Tensor, starts: np.ndarray, stops: np.ndarray) -> np.ndarray | None:
        """Return which windows touch the largest component so far; None if none has ``min_volume``."""
        # The weights are positive, so the weighted sum has the same winner as the weighted mean.
        foreground = (total[1:].amax(0) > total[0]).cpu().numpy()
        boxes = ndimage.find_objects(foreground.astype(np.uint8))
        if not boxes:
            return None
        box = boxes[0]
        # The same neighbourhood as the largest component that is kept at the end.
        labels, number = ndimage.label(foreground[box], structure=np.ones((3,) * foreground.ndim))
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        if number == 0 or sizes.max() < self.min_volume:
            return None
        component = labels == sizes.argmax()
        needed = np.zeros(len(starts), dtype=bool)
        offset = np.array([axis.start for axis in box])
        for i, (start, stop) in enumerate(zip(starts - offset - MARGIN, stops - offset + MARGIN, strict=True)):
            needed[i] = component[tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(start, stop, strict=True))].any()
        return needed
