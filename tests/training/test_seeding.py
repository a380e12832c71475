"""Order and augmentation that follow from (seed, epoch, index), whoever computes them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, Lambdad, RandGaussianNoised, RandRotate90d, ScaleIntensityd

from heartseg.training.seeding import EpochSampler, SeededCacheDataset, derived_seed, seed_everything

COUNT = 6


def from_everywhere(image: torch.Tensor) -> torch.Tensor:
    """Return the numbers that a careless transform draws from the global generators."""
    drawn = [random.random(), np.random.rand(), float(torch.rand(()))]  # noqa: NPY002
    return torch.cat([image.flatten(), torch.tensor(drawn)])


def dataset(seed: int = 3, times: int = 1, cache: float = 1.0) -> SeededCacheDataset:
    cases = [{"image": torch.arange(8.0).reshape(1, 2, 2, 2) * (case + 1)} for case in range(COUNT)]
    transform = Compose(
        [
            ScaleIntensityd("image"),
            RandGaussianNoised("image", prob=1.0),
            RandRotate90d("image", prob=0.5),
            Lambdad("image", from_everywhere, track_meta=False),
        ]
    )
    return SeededCacheDataset(
        cases * times, transform, cache_rate=cache, hash_as_key=True, progress=False, num_workers=0, seed=seed
    )


def sample(data: Any, epoch: int, index: int) -> bytes:
    image: torch.Tensor = data[(epoch, index)]["image"]
    return image.as_subclass(torch.Tensor).numpy().tobytes()


def test_seeds_of_neighbours_are_unrelated_and_always_the_same() -> None:
    # NumPy promises that SeedSequence does not change.
    assert derived_seed(0, 1, 2) == int(np.random.SeedSequence([2, 0, 1, 2]).generate_state(1)[0])
    seeds = [derived_seed(*keys) for keys in ((0,), (1,), (0, 0), (0, 1), (1, 0), (0, 1, 2), (0, 2, 1), (5, 1, 2))]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)
    bits = [bin(derived_seed(7, 1, index) ^ derived_seed(7, 1, index + 1)).count("1") for index in range(200)]
    assert 14 < np.mean(bits) < 18  # half of 32


def test_all_global_generators_are_seeded() -> None:
    drawn = []
    for seed in (1, 1, 2):
        seed_everything(seed)
        drawn.append(from_everywhere(torch.zeros(0)).tolist())
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))


def test_a_sample_is_independent_of_order_and_earlier_draws() -> None:
    first, second = dataset(), dataset()
    wanted = {(epoch, index): sample(first, epoch, index) for epoch in (1, 2) for index in range(COUNT)}
    seed_everything(99)
    second.transform.set_random_state(98)
    for key in sorted(wanted, key=lambda key: (-key[1], key[0])):
        assert sample(second, *key) == wanted[key]
        torch.rand(3)
    assert len(set(wanted.values())) == 2 * COUNT


def test_a_sample_without_an_epoch_is_that_of_epoch_0() -> None:
    data = dataset()
    image = data[4]["image"].as_subclass(torch.Tensor)
    assert image.numpy().tobytes() == sample(data, 0, 4) != sample(data, 1, 4)
    assert [len(part["image"]) for part in data[1:3]] == [11, 11]  # a slice, as of any data set


def test_patches_of_one_case_differ_and_another_seed_gives_others() -> None:
    data, other = dataset(times=2), dataset(seed=4)
    assert sample(data, 1, 0) != sample(data, 1, COUNT)
    assert sample(data, 1, 0) == sample(dataset(), 1, 0) != sample(other, 1, 0)
    uncached = dataset(cache=0.0)
    assert sample(uncached, 1, 2) == sample(data, 1, 2)


def passes(workers: int, batch: int) -> list[list[bytes]]:
    """Images of two epochs, as a training asks for them."""
    data = dataset(times=2)
    sampler = EpochSampler(data, seed=5)
    loader = DataLoader(data, batch_size=batch, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
    seen = []
    for epoch in (1, 2):
        sampler.epoch = epoch
        torch.rand(workers)  # draws from the generator that seeds workers
        images = torch.cat([part["image"] for part in loader])
        seen.append([image.numpy().tobytes() for image in images])
    return seen


def test_any_number_of_workers_gives_the_same_samples() -> None:
    alone = passes(0, 2)
    assert len(set(alone[0] + alone[1])) == 4 * COUNT
    assert passes(1, 2) == passes(2, 3) == alone


def test_an_epoch_has_each_index_once_in_an_order_of_its_own() -> None:
    sampler = EpochSampler(range(50), seed=1)
    orders = {}
    for epoch in (1, 2, 3):
        sampler.epoch = epoch
        pairs = list(sampler)
        assert {one for one, _ in pairs} == {epoch}
        orders[epoch] = [index for _, index in pairs]
        assert sorted(orders[epoch]) == list(range(50)) and len(sampler) == 50
        assert list(sampler) == pairs  # asked again
    assert orders[1] != orders[2] != orders[3] != sorted(orders[3])
    assert list(EpochSampler(range(50), seed=1)) == [(1, index) for index in orders[1]]
    assert list(EpochSampler(range(50), seed=2)) != [(1, index) for index in orders[1]]


@pytest.mark.parametrize("epoch", [1, 7])
def test_without_shuffling_the_order_is_that_of_the_data_set(epoch: int) -> None:
    sampler = EpochSampler(range(4), seed=1, shuffle=False)
    sampler.epoch = epoch
    assert list(sampler) == [(epoch, index) for index in range(4)]
