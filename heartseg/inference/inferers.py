"""What runs a network over a whole scan: windows around one organ, or the slices of a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import Inferer, SimpleInferer
from monai.utils import fall_back_tuple
from scipy import ndimage

from heartseg.data.stacks import neighbouring_slices
from heartseg.errors import InputError
from heartseg.numbers import is_number

# Resampling the result back to the scan's grid mixes neighbouring voxels, so the windows over this many
# voxels around the organ are visited too.
MARGIN = 2
ORGAN = 50  # voxels: less in one slice is a speck, and does not say where the organ is


class OrganWindowInferer(Inferer):
    """Gaussian-weighted sliding windows, visited outwards from the middle until one organ is complete.

    A scan of the chest has some 50 windows, the heart lies in a dozen. Windows are visited in the order of
    their distance to the image's centre until foreground of at least ``min_volume`` voxels is found; from
    then on only windows that touch the connected component found so far, and this until it is closed:
    every window over the component and a margin of two voxels has been visited. There the result equals
    that of ``monai.inferers.SlidingWindowInferer`` (mode gaussian) with the same arguments, so the component
    is one of those that plain inference finds. Other components may be missing: use it where one organ is
    wanted, with ``KeepLargestConnectedComponent`` behind it. Where nothing is found, every window is visited.

    Args:
        roi_size: window in voxels, one number per axis.
        overlap: share of a window that its neighbour covers, 0 <= overlap < 1.
        sw_batch_size: windows per call of the network.
        min_volume: voxels of the smallest component that counts as the organ; smaller ones are specks.
        exhaustive: visit all windows (plain sliding-window inference, for comparison).

    The call takes an image ``[B, C, *spatial]`` and a network that maps ``[N, C, *roi_size]`` to logits
    ``[N, classes, *roi_size]``, class 0 being the background; it returns logits ``[B, classes, *spatial]``,
    where voxels that no visited window covers say background (logit 0 against -20).

    Raises InputError for an overlap that cannot be.
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
            raise InputError(f"overlap: {overlap} is not in [0, 1); give the share that neighbouring windows share")
        self.roi_size = tuple(roi_size)
        _check_window("roi_size", self.roi_size, multiple)
        self.overlap = overlap
        self.sw_batch_size = sw_batch_size
        self.min_volume = min_volume
        self.exhaustive = exhaustive
        self.visited = 0  # windows visited and windows there are, of the last call
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
        pad = [max(r - s, 0) for r, s in zip(roi, size, strict=True)]
        if any(pad):
            # F.pad names the last axis first; MONAI puts the odd voxel behind, and so does this.
            image = F.pad(image, [w for p in reversed(pad) for w in (p // 2, p - p // 2)])
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

        # Where the organ was found: the windows it still needs. None while it is not found yet.
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
        inner = tuple(slice(p // 2, p // 2 + s) for p, s in zip(pad, size, strict=True))
        return logits[(slice(None), *inner)][None]

    def _windows_of_organ(self, total: torch.Tensor, starts: np.ndarray, stops: np.ndarray) -> np.ndarray | None:
        """Which windows touch the largest component so far; None while there is none of ``min_volume``."""
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


class StackInferer(Inferer):
    """Run a 2D network over the slices of a stack, each with its neighbours as channels, in a window on the heart.

    ``monai.inferers.SliceInferer`` shows a network one slice at a time; here it also sees those beside it, so
    that a slice that was lost in the scanner can be told from them. A network that learned on windows, and whose
    normalisation takes its statistics from them, errs on whole slices with much chest and air: so it sees the
    middle slice whole first, which is enough to find the organ (where it is not, all slices), and then every slice
    in a window of the size it knows, centred on what was found. Where nothing is found, slices are seen whole.

    Args:
        neighbours: slices on either side that the network sees, 0 or more; see `neighbouring_slices`.
        input_size: the window in voxels, along both axes of a slice; None sees every slice whole.
        batch_slices: slices per call of the network.
        multiple: of voxels that the network takes along both axes, the product of its strides. Whole slices are
            repeated outwards to it, and so are slices that are smaller than the window.

    The call takes a stack ``[B, 1, x, y, slices]`` and a network that maps ``[N, 2 * neighbours + 1, x, y]`` to
    logits ``[N, classes, x, y]``, class 0 being the background; it returns logits ``[B, classes, x, y, slices]``,
    which say background (logit 0 against -20) outside the window.

    Raises InputError for arguments that are no such whole numbers.
    """

    def __init__(
        self,
        neighbours: int = 1,
        input_size: Sequence[int] | None = None,
        batch_slices: int = 8,
        multiple: int = 16,
    ) -> None:
        super().__init__()
        self.neighbours = _whole("neighbours", neighbours, 0)
        self.batch_slices = _whole("batch_slices", batch_slices, 1)
        self.multiple = _whole("multiple", multiple, 1)
        self.input_size = None if input_size is None else tuple(_whole("input_size", size, 1) for size in input_size)
        _check_window("input_size", self.input_size or (), self.multiple)

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs

        def run(slices: torch.Tensor) -> torch.Tensor:
            parts = slices.split(self.batch_slices)
            return torch.cat([network(part.contiguous(), *args, **kwargs).float() for part in parts])

        logits = torch.stack([self._one(neighbouring_slices(stack, self.neighbours), run) for stack in plain])
        return MetaTensor(logits, meta=inputs.meta) if isinstance(inputs, MetaTensor) else logits

    def _one(self, slices: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        centre = None if self.input_size is None else self._centre(slices, run)
        if self.input_size is None or centre is None:
            return self._whole_slices(slices, run).movedim(0, -1)
        size = slices.shape[2:]
        pads = [max(r - s, 0) for r, s in zip(self.input_size, size, strict=True)]
        before = [pad // 2 for pad in pads]
        # F.pad names the last axis first.
        widths = [w for first, pad in zip(reversed(before), reversed(pads), strict=True) for w in (first, pad - first)]
        padded = F.pad(slices, widths, mode="replicate")
        rows, columns = (
            slice(start := min(max(round(c + b - r / 2), 0), n - r), start + r)
            for c, b, r, n in zip(centre, before, self.input_size, padded.shape[2:], strict=True)
        )
        found = run(padded[..., rows, columns])
        logits = found.new_zeros(len(slices), found.shape[1], *padded.shape[2:])
        logits[:, 1:] = -20.0
        logits[..., rows, columns] = found
        return logits[..., before[0] : before[0] + size[0], before[1] : before[1] + size[1]].movedim(0, -1)

    def _centre(self, slices: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> list[float] | None:
        """Centre of mass, in voxels, of the largest component; None where no slice shows any."""
        middle = len(slices) // 2
        for chosen, least in ((slices[middle : middle + 1], ORGAN), (slices, 1)):
            logits = self._whole_slices(chosen, run)
            labels, number = ndimage.label((logits[:, 1:].amax(1) > logits[:, 0]).cpu().numpy(), np.ones((3, 3, 3)))
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            if number and sizes.max() >= least:
                return list(ndimage.center_of_mass(labels == sizes.argmax())[1:])
        return None

    def _whole_slices(self, slices: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        wide, high = slices.shape[2:]
        right, below = (max(-size % self.multiple, 2 * self.multiple - size) for size in (wide, high))
        return run(F.pad(slices, (0, below, 0, right), mode="replicate"))[..., :wide, :high]


class BFloat16Inferer(SimpleInferer):
    """Run a network on a CPU in bfloat16, where ``monai.engines.SupervisedTrainer`` knows half precision on a GPU only.

    Convolutions compute in bfloat16, weights and gradients stay in float32, which needs no gradient scaler; what
    comes out is float32, so that the loss is exact. Where the CPU multiplies bfloat16 itself (``avx512_bf16`` or
    ``amx_bf16`` among its flags) training is faster, elsewhere slower.

    Args:
        enabled: False runs the network as it is; so does a GPU.
    """

    def __init__(self, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if not self.enabled or inputs.device.type != "cpu":
            return super().__call__(inputs, network, *args, **kwargs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = super().__call__(inputs, network, *args, **kwargs)
        return outputs.float()


def _whole(name: str, value: Any, least: int) -> int:
    if not is_number(value, whole=True) or value < least:
        raise InputError(f"{name}: {value!r} is no number of slices or voxels; give a whole number from {least} on")
    return value


def _check_window(name: str, sizes: Sequence[int], multiple: int) -> None:
    """Refuse a window that a network cannot halve down to its deepest level; a normalisation needs two voxels there."""
    least = 2 * multiple
    if multiple > 1 and any(size % multiple or size < least for size in sizes):
        raise InputError(
            f"{name}: {list(sizes)} does not fit the network; give multiples of {multiple} from {least} on"
        )
