"""2D networks over the slices of a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.inferers import Inferer
from scipy import ndimage

from heartseg.data.stacks import neighbouring_slices
from heartseg.errors import InputError
from heartseg.inference.windows import check_window, padding
from heartseg.numbers import is_number

ORGAN = 50  # voxels: less in one slice is a speck, and does not show where the organ is


class StackInferer(Inferer):
    """Run a 2D network over the slices of a stack, each with its neighbours as channels, in a window on the heart.

    ``monai.inferers.SliceInferer`` shows a network one slice at a time; here it also sees the adjacent ones, from which
    a slice that was lost in the scanner can be inferred. A network that was trained on windows, and whose normalisation
    takes its statistics from them, fails on whole slices with much chest and air. So it sees the middle slice whole
    first, which is enough to find the organ (if not, all slices), and then every slice in a window of the size it
    knows, centred on the organ. If nothing is found, slices are seen whole.

    Args:
        neighbours: slices on either side that the network sees, 0 or more; see `neighbouring_slices`.
        input_size: the window in voxels, along both axes of a slice; None sees every slice whole.
        batch_slices: slices per call of the network.
        multiple: the product of the network's strides. Whole slices, and those smaller than the window, are padded to a
            multiple of it by repeating their edges.

    The call takes a stack ``[B, 1, x, y, slices]`` and a network that maps ``[N, 2 * neighbours + 1, x, y]`` to
    logits ``[N, classes, x, y]``, class 0 being the background; it returns logits ``[B, classes, x, y, slices]``,
    which are background (logit 0 against -20) outside the window.

    Raises InputError for arguments that are not such whole numbers.
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
        check_window("input_size", self.input_size or (), self.multiple)

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
        before, widths = padding(size, self.input_size)
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
        """Return the centre of mass, in voxels, of the largest component; None if there is none."""
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


def _whole(name: str, value: Any, least: int) -> int:
    if not is_number(value, whole=True) or value < least:
        fault = f"{value!r} is not a number of slices or voxels"
        raise InputError(f"{name}: {fault}; give a whole number of at least {least}")
    return value
