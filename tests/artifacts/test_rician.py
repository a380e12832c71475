"""Rician noise by its moments (Gudbjartsson and Patz, 1995)."""

import math

import pytest
import torch
from images import scan, texture
from scipy.stats import rice

from heartseg.artifacts import RandRician, RandRiciand, rician
from heartseg.errors import InputError

N = 2 * 48 * 48 * 48  # voxels of each brightness
STD = 0.2


@pytest.fixture(scope="module", params=[0.0, -3.0], ids=["magnitude", "normalised"])
def noisy(request):
    """Half background, half signal of 1, so that the 1 to 99 % range is 1; both with noise, above the darkest voxel."""
    image = torch.full((96, 96, 48), request.param, dtype=torch.float64)
    image[48:] += 1
    found = rician(image, STD, seed=1) - request.param
    return found[:48], found[48:]


def test_an_empty_background_is_rayleigh(noisy):
    background = noisy[0]
    assert background.mean() == pytest.approx(STD * math.sqrt(math.pi / 2), rel=0.01)
    assert background.var() == pytest.approx((2 - math.pi / 2) * STD**2, rel=0.02)
    assert background.square().mean() == pytest.approx(2 * STD**2, rel=0.01)


def test_a_signal_is_rician(noisy):
    """Mean and variance as in SciPy; the energy is the signal's plus twice the noise's."""
    mean, variance = rice.stats(1 / STD, scale=STD)
    assert noisy[1].mean() == pytest.approx(float(mean), abs=4.5 * STD / N**0.5)
    assert noisy[1].var() == pytest.approx(float(variance), rel=0.02)
    assert noisy[1].square().mean() == pytest.approx(1 + 2 * STD**2, rel=0.005)
    assert noisy[1].mean() > 1  # the magnitude is biased upwards


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_never_below_the_darkest_voxel(dtype):
    image = (4 * texture(2, 20, 21, 22, dtype=torch.float64) - 3).to(dtype)
    image[0] *= 2
    found = rician(image, 0.3, seed=2)
    assert (found.amin((1, 2, 3)) >= image.amin((1, 2, 3))).all()


def test_both_channels_by_hand():
    image = torch.linspace(0, 1, 101).reshape(101, 1, 1).repeat(1, 2, 2)  # percentiles 0.01 and 0.99
    a, b = 0.1 * 0.98 * torch.randn(2, 101, 2, 2, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(rician(image - 2, 0.1, seed=7), ((image + a) ** 2 + b**2).sqrt() - 2, rtol=0, atol=1e-6)


def test_seeds():
    image = texture(1, 6, 7, 8)
    assert torch.equal(rician(image, 0.1, seed=5), rician(image, 0.1, seed=5))
    assert not torch.equal(rician(image, 0.1, seed=5), rician(image, 0.1, seed=6))


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf"), True, "much", None])
def test_invalid_std(std):
    with pytest.raises(InputError, match="rician: std: .* is not a strength"):
        rician(texture(1, 4, 5, 6), std)


def test_sampled_parameters():
    transform = RandRician(prob=1, std=(0.02, 0.05)).set_random_state(0)
    sizes = []
    for _ in range(60):
        transform.randomize(texture(1, 2, 3, 4))
        sizes.append(transform.parameters["std"])
    assert 0.02 <= min(sizes) < 0.022 and 0.048 < max(sizes) <= 0.05


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandRiciand("image", prob=1).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandRician(prob=1).set_random_state(4)(image))
    assert found.amin() >= image.amin() and not torch.equal(found, image)
