"""Random transforms and their dictionary forms: probability, seeds, workers, keys."""

import copy
import pickle

import numpy as np
import pytest
import torch
from images import NAMES, SeededImages, scan, texture
from monai.data import DataLoader, Dataset, MetaTensor, set_track_meta
from monai.transforms import Compose, Randomizable

from heartseg import artifacts
from heartseg.artifacts import ARTIFACTS, at_severity
from heartseg.artifacts.transform import direction
from heartseg.errors import InputError

DICTIONARIES = {name: getattr(artifacts, f"{cls.__name__}d") for name, cls in ARTIFACTS.items()}
SHOWN = {"slice_dropout": {"share": (0.5, 0.5)}, "blur": {"std": (3, 6)}}  # visible with few slices and a coarse grid


def always(name, **more):
    return ARTIFACTS[name](prob=1, **SHOWN.get(name, {}), **more)


def always_d(name, keys="image", **more):
    return DICTIONARIES[name](keys, prob=1, **SHOWN.get(name, {}), **more)


@pytest.mark.parametrize("name", NAMES)
def test_probability_0_and_1(name):
    never, sure = ARTIFACTS[name](prob=0).set_random_state(0), always(name).set_random_state(0)
    for seed in range(20):
        image = scan(1, 6, 7, 8, seed=seed)
        assert torch.equal(never(image), image)
        found = sure(image)
        assert not torch.equal(found, image)
        assert found.shape == image.shape and found.dtype == image.dtype
        assert torch.equal(found.affine, image.affine) and found.applied_operations == image.applied_operations


def test_probability():
    """Within 4.5 standard deviations of 400 draws."""
    transform = artifacts.RandGamma(prob=0.3, log_gamma=(0.3, 0.3)).set_random_state(0)
    image = texture(1, 4, 5, 6)
    acted = sum(not torch.equal(transform(image), image) for _ in range(400))
    assert abs(acted - 400 * 0.3) < 4.5 * (400 * 0.3 * 0.7) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_images(name):
    images = [scan(1, 6, 7, 8, seed=seed) for seed in range(3)]
    first = always(name).set_random_state(7)
    run = [first(image) for image in images]
    for again in (first.set_random_state(7), always(name).set_random_state(state=np.random.RandomState(7))):
        assert all(torch.equal(again(image), one) for image, one in zip(images, run, strict=True))
    assert not torch.equal(first(images[0]), run[0])  # the state has advanced
    assert not torch.equal(always(name).set_random_state(8)(images[0]), run[0])


@pytest.mark.parametrize("name", NAMES)
def test_no_global_state(name):
    """The global states of torch and NumPy are neither used nor changed."""
    transform, image = always(name).set_random_state(1), texture(1, 6, 7, 8)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    found = transform(image)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(always(name).set_random_state(1)(image), found)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_2d_images_arrays_and_half_precision(name, dims):
    image = texture(2, *(9, 8, 7)[:dims])
    found = always(name).set_random_state(3)(image.numpy())
    assert isinstance(found, MetaTensor) and found.shape == image.shape
    assert torch.equal(found, always(name).set_random_state(3)(image))
    half = always(name).set_random_state(3)(image.half())
    assert half.dtype == torch.float16
    assert torch.equal(half, always(name).set_random_state(3)(image.half().float()).half())
    try:
        set_track_meta(False)
        assert type(always(name)(image)) is torch.Tensor
    finally:
        set_track_meta(True)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_kept_without_randomize(name):
    """As in MONAI's transforms, ``randomize=False`` repeats the last draw."""
    transform, image = always(name).set_random_state(0), texture(1, 6, 7, 8)
    found = transform(image)
    assert torch.equal(transform(image, randomize=False), found)


@pytest.mark.parametrize("name", NAMES)
def test_pickles_and_copies_continue_alike(name):
    transform, image = always(name).set_random_state(5), scan(1, 6, 7, 8)
    twins = [pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)]
    found = [transform(image), transform(image)]
    for twin in twins:
        assert torch.equal(twin(image), found[0]) and torch.equal(twin(image), found[1])


@pytest.fixture
def threads():
    """Set the number of torch's threads; restore it afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_images_by_seed_and_index_are_the_same_for_any_number_of_workers(threads):
    """Except for rounding: another process or number of threads may round FFT and products differently."""

    def run(workers, seed=1):
        dataset = SeededImages(artifacts.RandMRIArtifacts(prob=0.9), seed)
        return torch.cat(list(DataLoader(dataset, batch_size=1, num_workers=workers)))

    threads(2)
    several = run(0)
    threads(1)
    alone = run(0)
    torch.testing.assert_close(run(2), alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(several, alone, rtol=0, atol=1e-6)
    assert not torch.allclose(run(0, seed=2), alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seeded_loader_gives_the_same_images_again(workers):
    """MONAI seeds each worker, whose state then advances from image to image: equal for equal numbers of workers."""

    def run(seed):
        data = [{"image": scan(1, 6, 7, 8, seed=index)} for index in range(4)]
        dataset = Dataset(data, Compose([artifacts.RandMRIArtifactsd("image", prob=1.0)]))
        loader = DataLoader(dataset, num_workers=workers, generator=torch.Generator().manual_seed(seed))
        return torch.cat([batch["image"].as_tensor() for batch in loader])

    first = run(1)
    assert torch.equal(run(1), first) and not torch.equal(run(2), first)


@pytest.mark.parametrize("name", NAMES)
def test_all_keys_change_alike_and_labels_stay(name):
    label, image = scan(1, 6, 7, 8, seed=9), scan(1, 6, 7, 8)
    data = {"image": image, "late": image.clone(), "label": label, "id": "a", "two": scan(2, 6, 7, 8)}
    found = always_d(name, ["image", "late"]).set_random_state(2)(data)
    assert list(found) == list(data)
    assert torch.equal(found["image"], found["late"]) and not torch.equal(found["image"], image)
    assert torch.equal(found["image"], always(name).set_random_state(2)(image))
    for key in ("label", "id", "two"):
        assert found[key] is data[key]
    assert torch.equal(label, scan(1, 6, 7, 8, seed=9))
    assert data["image"] is image and torch.equal(image, scan(1, 6, 7, 8))  # the input is not changed
    both = always_d(name, ["image", "two"]).set_random_state(2)(data)  # channels may differ
    assert torch.equal(both["image"], found["image"]) and both["two"].shape == (2, 6, 7, 8)


@pytest.mark.parametrize("name", NAMES)
def test_keys(name):
    image = scan(1, 6, 7, 8)
    with pytest.raises(KeyError, match="late"):
        always_d(name, ["image", "late"])({"image": image})
    found = always_d(name, ["image", "late"], allow_missing_keys=True).set_random_state(2)({"image": image})
    assert torch.equal(found["image"], always_d(name).set_random_state(2)({"image": image})["image"])
    assert always_d(name, "late", allow_missing_keys=True)({"image": image})["image"] is image
    with pytest.raises(InputError, match=r"small: shape \(1, 6, 7, 9\) differs from \(1, 6, 7, 8\) of image; images"):
        always_d(name, ["image", "small"])({"image": image, "small": scan(1, 6, 7, 9)})


def test_all_keys_change_or_none():
    transform = artifacts.RandNoised(["image", "late"], prob=0.5, std=(0.1, 0.1)).set_random_state(0)
    image, acted = texture(1, 4, 5, 6), []
    for _ in range(40):
        found = transform({"image": image, "late": image})
        changed = [not torch.equal(found[key], image) for key in ("image", "late")]
        assert changed[0] == changed[1]
        acted.append(changed[0])
    assert 8 < sum(acted) < 32


def test_compose_seeds_its_transforms():
    def run(seed):
        chain = Compose([always_d(name) for name in NAMES] + [artifacts.RandMRIArtifactsd("image", prob=0.8)])
        assert all(isinstance(transform, Randomizable) for transform in chain.transforms)
        return chain.set_random_state(seed)({"image": scan(1, 6, 7, 8)})["image"]

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


@pytest.mark.parametrize("prob", [-0.1, 1.1, True, "0.5", None, float("nan")])
@pytest.mark.parametrize("cls", [*ARTIFACTS.values(), artifacts.RandMRIArtifacts])
def test_invalid_probability(cls, prob):
    with pytest.raises(InputError, match=f"{cls.__name__}: prob .* is not a probability; give a number from 0 to 1"):
        cls(prob=prob)
    with pytest.raises(InputError, match="is not a probability"):
        getattr(artifacts, f"{cls.__name__}d")("image", prob=prob)


STRENGTHS = [(name, key) for name, cls in ARTIFACTS.items() for key in cls.severities]
NO_STRENGTH = [-1, True, "0.5", "ab", None, float("nan"), float("inf"), (0.5, 0.2), (-0.5, 0.2), (0.1,), (1, 2, 3)]


@pytest.mark.parametrize("value", [*NO_STRENGTH, (0, True), ("0", 1), (None, 1), (0, float("inf"))], ids=repr)
@pytest.mark.parametrize(("name", "key"), STRENGTHS)
def test_invalid_strength(name, key, value):
    words = f"{ARTIFACTS[name].__name__}: {key} .* is not a strength; give a number of 0 or more, or \\[low, high\\]"
    with pytest.raises(InputError, match=words) as caught:
        ARTIFACTS[name](**{key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "key"), STRENGTHS)
def test_a_number_is_the_upper_end(name, key):
    assert getattr(ARTIFACTS[name](**{key: 0.6}), key) == (0, 0.6)
    assert getattr(ARTIFACTS[name](**{key: 1}), key) == (0, 1)
    for pair in ((0.2, 0.6), [0.2, 0.6], (0.6, 0.6)):
        assert getattr(ARTIFACTS[name](**{key: pair}), key) == tuple(pair)


@pytest.mark.parametrize("name", ["ghosting", "spike"])
def test_counts(name):
    assert ARTIFACTS[name](count=3).count == (3, 3)
    assert ARTIFACTS[name](count=[2, 5]).count == (2, 5)
    for count in (0, -1, 2.5, True, "3", "ab", None, (3, 2), (0, 2), (1.5, 2), (1, 2, 3), (True, 2)):
        with pytest.raises(InputError, match="count .* is not a count; give a whole number of 1 or more, or "):
            ARTIFACTS[name](count=count)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(5, 6), (1, 4, 4, 4, 4)])
def test_invalid_shape(name, shape):
    with pytest.raises(InputError, match="image: shape .* does not have . spatial axes"):
        at_severity(name)(texture(*shape))


def test_directions():
    """Length 1, isotropic, and no component along an excluded axis."""
    random = np.random.RandomState(0)
    free = np.array([direction(random, 3) for _ in range(400)])
    np.testing.assert_allclose(np.linalg.norm(free, axis=1), 1)
    assert np.abs(free.mean(axis=0)).max() < 4.5 * (1 / 3 / 400) ** 0.5  # each component has a variance of 1/3
    flat = np.array([direction(random, 3, never=1) for _ in range(50)])
    assert (flat[:, 1] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1)
    assert {tuple(direction(random, 3, only=2)) for _ in range(30)} == {(0, 0, 1), (0, 0, -1)}
