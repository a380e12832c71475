"""Gaussian noise by its moments."""

import pytest
import torch
from images import scan, texture

from heartseg.artifacts import RandNoise, RandNoised, noise
from heartseg.artifacts.noise import white_noise
from heartseg.errors import InputError

N = 64**3


def test_mean_and_std():
    """Relative to the range of the middle 98 %, so two outliers change nothing; within 4.5 standard errors."""
    image = 100 * texture(64, 64, 64, dtype=torch.float64) - 30
    low, high = torch.quantile(image.flatten()[::4], torch.tensor([0.01, 0.99], dtype=torch.float64))
    image[0, 0, 0], image[1, 1, 1] = -1e6, 1e6
    std = 0.05 * (high - low).item()
    change = noise(image, 0.05, seed=1) - image
    assert abs(change.mean()) < 4.5 * std / N**0.5
    assert change.std() == pytest.approx(std, rel=0.01)
    whole = change.flatten() / std
    assert (whole**3).mean() == pytest.approx(0, abs=4.5 * (15 / N) ** 0.5)
    assert (whole**4).mean() == pytest.approx(3, abs=4.5 * (96 / N) ** 0.5)


def test_noise_is_white():
    """Neighbours along each axis are uncorrelated."""
    change = noise(texture(64, 64, 64), 0.05, seed=2) - texture(64, 64, 64)
    change /= change.std()
    for axis in range(3):
        near = change.narrow(axis, 0, 63) * change.narrow(axis, 1, 63)
        assert abs(near.mean()) < 4.5 / N**0.5


def test_noise_comes_from_a_separate_generator():
    """By hand: the range times torch's normal numbers from that seed; the global state is not changed."""
    image = torch.linspace(0, 1, 101).reshape(101, 1, 1).repeat(1, 2, 2)  # percentiles 0.01 and 0.99
    numbers = torch.randn(1, 101, 2, 2, generator=torch.Generator().manual_seed(7))[0]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    torch.testing.assert_close(noise(image, 0.1, seed=7), image + 0.1 * 0.98 * numbers, rtol=0, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds():
    image = texture(1, 6, 7, 8)
    assert torch.equal(noise(image, 0.1, seed=5), noise(image, 0.1, seed=5))
    assert not torch.equal(noise(image, 0.1, seed=5), noise(image, 0.1, seed=6))
    small, large = noise(image, 0.1, seed=5) - image, noise(image, 0.2, seed=5) - image
    torch.testing.assert_close(large, 2 * small, rtol=0, atol=1e-6)  # the same noise, stronger


def test_white_noise_has_shape_and_type_of_its_argument():
    found = white_noise(torch.empty(3, 4, dtype=torch.float64), seed=0)
    assert found.shape == (3, 4) and found.dtype == torch.float64


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf"), True, "much", None])
def test_invalid_std(std):
    with pytest.raises(InputError, match="noise: std: .* is not a strength"):
        noise(texture(1, 4, 5, 6), std)


def test_sampled_parameters():
    transform = RandNoise(prob=1, std=(0.02, 0.05)).set_random_state(0)
    seen = []
    for _ in range(60):
        transform.randomize(texture(1, 2, 3, 4))
        seen.append(transform.parameters)
    sizes = [p["std"] for p in seen]
    assert 0.02 <= min(sizes) < 0.022 and 0.048 < max(sizes) <= 0.05
    assert len({p["seed"] for p in seen}) == 60


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandNoised("image", prob=1).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandNoise(prob=1).set_random_state(4)(image))
    assert not torch.equal(found, image)
