"""Random order and augmentation that depend on (seed, epoch, index) alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from torch.utils.data import Sampler

from heartseg import distributed


def derived_seed(seed: int, *keys: int) -> int:
    """Return a 32-bit seed derived from others; neighbouring keys give unrelated ones (NumPy's ``SeedSequence``)."""
    # With their number, since NumPy ignores zeros at the end.
    return int(np.random.SeedSequence([len(keys), seed, *keys]).generate_state(1)[0])


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators, those of GPUs included; no other setting changes."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - others draw from the global generator
    torch.manual_seed(seed)


class SeededCacheDataset(CacheDataset):
    """``monai.data.CacheDataset`` whose random transforms are seeded for each sample from (seed, epoch, index).

    A sample looks the same whether the main process makes it or one of any number of workers, in a run that was never
    stopped or in one that resumed: no random state has to be saved. Transforms that draw from the global generators are
    seeded too.

    An item is indexed by ``(epoch, index)``, as `EpochSampler` gives it; a plain index means epoch 0.

    Args:
        args, kwargs: of ``CacheDataset``; the transform is a ``Compose``.
        seed: the seeds of samples are derived from it.
    """

    def __init__(self, *args: Any, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seed = seed

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice | list):
            return super().__getitem__(index)
        epoch, index = index if isinstance(index, tuple) else (0, index)
        seed = derived_seed(self.seed, epoch, index)
        self.transform.set_random_state(seed)
        seed_everything(seed)
        return super().__getitem__(index)


class EpochSampler(Sampler[tuple[int, int]]):
    """Every index once an epoch, in an order that follows from (seed, epoch), as pairs ``(epoch, index)``.

    The epoch travels with the index, because persistent workers hold copies of the data set that learn of nothing else.
    The training sets ``epoch`` before each pass (`heartseg.training.ExactResume` does).

    Of several processes (`heartseg.distributed`) each takes its part of the one order: together they see what one
    would.
    Where the number does not divide, the first of the order come twice, so that all take as many steps.

    Args:
        dataset: its length is the number of indices.
        seed: the order is derived from it.
        shuffle: False keeps the order of the data set.
    """

    def __init__(self, dataset: Sized, seed: int = 0, shuffle: bool = True) -> None:
        self.dataset = dataset
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 1

    def __len__(self) -> int:
        return -(-len(self.dataset) // distributed.size())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = torch.arange(len(self.dataset))
        if self.shuffle:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
            order = torch.randperm(len(self.dataset), generator=generator)
        places = range(distributed.rank(), len(self) * distributed.size(), distributed.size())
        return iter([(self.epoch, int(order[place % len(order)])) for place in places])
