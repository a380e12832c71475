"""Training samples of the ventricles: a slice with its neighbours, and the label of that slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandAdjustContrastd
from monai.utils import set_determinism

Get = Callable[[str], Any]
Sample = dict[str, torch.Tensor]
DEPTH = 5  # slices of the stacks that are made here
SIZE = 2.0  # mm of a voxel within them
# Without what changes intensities; the stacks stay on their own grid.
PLAIN = {"intensity": 0.0, "noise": 0.0, "artifact_probability": 0.0, "spacing": [SIZE, SIZE]}


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    set_determinism(0)
    yield
    set_determinism(None)


def stack(values: torch.Tensor) -> MetaTensor:
    """Slices ``[x, y, z]`` that are 10 mm thick."""
    return MetaTensor(values, affine=torch.diag(torch.tensor([SIZE, SIZE, 10, 1], dtype=torch.float64)))


def numbered(depth: int = DEPTH, shape: tuple[int, int] = (50, 42)) -> dict[str, MetaTensor]:
    """A stack whose slice k holds 10 k, and the labels 1, 2, 3, 1 and so on."""
    number = torch.arange(float(depth)).expand(*shape, depth)
    return {"image": stack(10 * number), "label": stack(1 + number % 3)}


def draw(get: Get, case: Any, count: int, gamma: bool = False) -> tuple[list[float], list[Sample]]:
    """Samples of a case, and what the network sees of each of its slices where a slice holds one value.

    ``gamma``: with the random contrast, which no knob switches off.
    """
    fixed = get("train::deterministic_transforms")(case)
    transforms = get("train::random_transforms")
    (contrast,) = [one for one in transforms.transforms if isinstance(one, RandAdjustContrastd)]
    contrast.prob = 0.3 if gamma else 0.0
    edge = get("neighbours")
    levels = fixed["image"][0, 0, 0].tolist()[edge:-edge]  # without the ends that stand there again
    return levels, [transforms(dict(fixed)) for _ in range(count)]


def middles(levels: list[float], samples: list[Sample]) -> list[list[int]]:
    """The slices that the channels of each sample show, by their values."""
    found = []
    for sample in samples:
        value = sample["image"].mean((1, 2))
        distance = (value[:, None] - torch.tensor(levels)).abs()
        assert float(distance.min(1).values.max()) < 1e-3
        assert float((sample["image"] - value[:, None, None]).abs().max()) < 1e-3
        found.append(distance.argmin(1).tolist())
    return found


@pytest.fixture(scope="module")
def samples(parts: Callable[..., Get]) -> tuple[list[float], list[Sample]]:
    set_determinism(0)
    return draw(parts(**PLAIN, input_size=[48, 32]), numbered(), 80)


def test_shapes_and_kinds(samples: tuple[list[float], list[Sample]]) -> None:
    for sample in samples[1]:
        image, label = sample["image"], sample["label"]
        assert (tuple(image.shape), image.dtype, tuple(label.shape)) == ((3, 48, 32), torch.float32, (1, 48, 32))
        assert not isinstance(image, MetaTensor) and not isinstance(label, MetaTensor)
        assert set(label.unique().tolist()) <= {0, 1, 2, 3}


def test_the_label_is_that_of_the_middle_channel(samples: tuple[list[float], list[Sample]]) -> None:
    levels, drawn = samples
    assert levels == sorted(levels) and len(set(levels)) == DEPTH
    for (before, middle, after), sample in zip(middles(levels, drawn), drawn, strict=True):
        assert sample["label"].unique().tolist() == [1 + middle % 3]
        # Beyond the ends the last slice stands again, as at inference.
        assert sorted((before, after)) == [max(middle - 1, 0), min(middle + 1, DEPTH - 1)]


def test_every_slice_is_drawn_and_either_way_up(samples: tuple[list[float], list[Sample]]) -> None:
    seen = {tuple(shown) for shown in middles(*samples)}
    last = DEPTH - 1
    upwards = {(max(k - 1, 0), k, min(k + 1, last)) for k in range(DEPTH)}
    assert seen == upwards | {(after, k, before) for before, k, after in upwards}


def test_a_stack_may_keep_its_direction(parts: Callable[..., Get]) -> None:
    shown = middles(*draw(parts(**PLAIN, input_size=[32, 32], reverse_probability=0.0), numbered(), 20))
    assert all(before <= middle <= after for before, middle, after in shown)


def test_a_quarter_turn_of_an_oblong_window(parts: Callable[..., Get]) -> None:
    """It reaches beyond slices that are as narrow as the window: the edge is continued there."""
    get = parts(**PLAIN, input_size=[48, 32], affine_probability=0.0, rotate90_probability=1.0)
    levels, drawn = draw(get, numbered(shape=(50, 34)), 20)
    for (_, middle, _), sample in zip(middles(levels, drawn), drawn, strict=True):
        assert sample["image"].shape == (3, 48, 32)
        assert sample["label"].unique().tolist() == [1 + middle % 3]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_stack_of_few_slices(depth: int, parts: Callable[..., Get]) -> None:
    case = numbered(depth)
    case["image"][0, 0] += 5  # one value is nothing that could be normalised
    get = parts(**PLAIN, input_size=[32, 32], affine_probability=0.0)
    _, drawn = draw(get, case, 10)
    assert {tuple(sample["image"].shape) for sample in drawn} == {(3, 32, 32)}
    assert {float(sample["label"].mean()) for sample in drawn} == set(map(float, range(1, 1 + depth)))


def test_more_neighbours_are_more_channels(parts: Callable[..., Get]) -> None:
    shown = middles(*draw(parts(**PLAIN, input_size=[32, 32], neighbours=2, reverse_probability=0.0), numbered(), 20))
    assert all(channels == [min(max(channels[2] + k, 0), DEPTH - 1) for k in (-2, -1, 0, 1, 2)] for channels in shown)


def test_a_turned_label_stays_whole_and_with_its_image(parts: Callable[..., Get]) -> None:
    """The image is the label's own outline, so that one can see where it went."""
    get = parts(**PLAIN, affine_probability=1.0, rotate90_probability=0.5, flip_probability=0.5)
    case = get("cases::train")[0]
    outline = get("geometry")(case)
    case = {"image": outline["label"].clone() > 0, "label": outline["label"]}
    case = {key: stack(value[0].as_tensor().float()) for key, value in case.items()}
    _, drawn = draw(get, case, 40)
    dice, sizes = [], []
    for sample in drawn:
        assert set(sample["label"].unique().tolist()) <= {0, 1, 2, 3}
        low, high = sample["image"].min(), sample["image"].max()
        seen, mask = sample["image"][1] > (low + high) / 2, sample["label"][0] > 0
        if mask.sum() > 500:
            dice.append(float(2 * (seen & mask).sum() / (seen.sum() + mask.sum())))
            sizes.append(float(mask.sum()))
    assert len(dice) > 10
    assert sorted(dice)[len(dice) // 2] > 0.98 and min(dice) > 0.95
    assert max(sizes) / min(sizes) > 1.2  # scaled, so it was not the same picture again and again


def marked(place: tuple[slice, ...]) -> dict[str, MetaTensor]:
    """A stack of 50 x 42 voxels, each of another value, whose label marks one place."""
    label = torch.zeros(50, 42, DEPTH)
    label[place] = 2
    return {"image": stack(torch.arange(50.0 * 42 * DEPTH).reshape(50, 42, DEPTH)), "label": stack(label)}


HEART = (slice(20, 30), slice(12, 16), slice(2, 3))
CORNER = (slice(2, 30), slice(12, 16), slice(0, 4))


@pytest.mark.parametrize(
    ("surroundings", "place", "box"),
    [
        (6, HEART, (slice(14, 36), slice(6, 22))),  # 6 voxels more on every side of 20..29 and 12..15
        (8, CORNER, (slice(0, 38), slice(4, 24))),  # not beyond the slice
        (64, HEART, (slice(0, 50), slice(0, 42))),
        (None, HEART, (slice(0, 50), slice(0, 42))),
    ],
)
def test_windows_are_taken_from_the_surroundings_of_the_heart(
    surroundings: int | None, place: tuple[slice, ...], box: tuple[slice, slice], parts: Callable[..., Get]
) -> None:
    """Of all slices, whichever show it; and of the same place in image and label."""
    get = parts(**PLAIN, input_size=[16, 16], surroundings=surroundings, spike_threshold=None)
    case = marked(place)
    found = get("train::deterministic_transforms")(case)
    seen = get("preprocessing")(case)
    inside = slice(1, -1)  # the slices beside the ends stand there again
    assert found["image"].shape[-1] == DEPTH + 2
    assert torch.equal(found["image"].as_tensor()[..., inside], seen["image"].as_tensor()[(slice(None), *box)])
    label = found["label"].as_tensor()[..., inside].argmax(0)
    assert torch.equal(label, case["label"].as_tensor()[box].long())


def test_a_heart_that_resampling_lost_keeps_the_whole_stack(parts: Callable[..., Get]) -> None:
    """At twice the spacing the even voxels are left, and this one is odd."""
    get = parts(**{**PLAIN, "spacing": [2 * SIZE, 2 * SIZE]}, input_size=[16, 16], surroundings=2)
    case = marked((slice(21, 22), slice(13, 14), slice(2, 3)))
    seen, found = (get(name)(case) for name in ("preprocessing", "train::deterministic_transforms"))
    assert seen["label"].sum() == 0 and min(seen["label"].shape[1:3]) > 20  # else it would be padded to the window
    for key, channels in (("image", 1), ("label", 4)):
        assert found[key].shape == (channels, *seen[key].shape[1:3], DEPTH + 2)


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.5, 12, 28), (1.0, 40, 40)])
def test_artifacts_come_as_often_as_asked_for(
    probability: float, least: int, most: int, parts: Callable[..., Get]
) -> None:
    own = {"artifact_probability": probability, "artifacts": {"noise": {"std": [0.05, 0.1]}}}
    _, drawn = draw(parts(**{**PLAIN, **own}, input_size=[32, 32]), numbered(), 40)
    noisy = [sample for sample in drawn if sample["image"].std((1, 2)).min() > 0.01]
    assert least <= len(noisy) <= most
    assert {float(sample["label"].std()) for sample in drawn} == {0.0}  # the truth has none


def test_every_artifact_takes_a_slab(parts: Callable[..., Get]) -> None:
    """All together, at full strength and with everything else that is random: finite, and no two alike."""
    get = parts(artifact_probability=1.0, artifact_strength=1.0, input_size=[64, 64])
    _, drawn = draw(get, get("cases::train")[0], 60, gamma=True)
    assert all(sample["image"].isfinite().all() and sample["image"].std() > 0 for sample in drawn)
    assert len({float(sample["image"].sum()) for sample in drawn}) == 60
