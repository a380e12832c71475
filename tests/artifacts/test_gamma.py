"""Gamma by hand and against MONAI's AdjustContrast."""

import math

import pytest
import torch
from images import scan, texture
from monai.transforms import AdjustContrast

from heartseg.artifacts import RandGamma, RandGammad, gamma
from heartseg.errors import InputError


def test_by_hand():
    """Between 2 and 10: 1/4 becomes 1/16 with an exponent of 2, and 1/2 with an exponent of 1/2."""
    image = torch.tensor([2.0, 4.0, 10.0, 6.0], dtype=torch.float64).reshape(1, 2, 2)
    darker = torch.tensor([2.0, 2.5, 10.0, 4.0], dtype=torch.float64).reshape(1, 2, 2)
    torch.testing.assert_close(gamma(image, math.log(2), 2), darker, rtol=0, atol=1e-14)
    brighter = torch.tensor([2.0, 6.0, 10.0, 2 + 8 * math.sqrt(0.5)], dtype=torch.float64).reshape(1, 2, 2)
    torch.testing.assert_close(gamma(image, -math.log(2), 2), brighter, rtol=0, atol=1e-14)


@pytest.mark.parametrize("log_gamma", [-0.7, -0.1, 0.3, 1.2])
def test_against_monai(log_gamma):
    """MONAI adds 1e-7 to the range of the whole array, so one image at a time."""
    image = 300 * texture(1, 9, 8, 7, dtype=torch.float64) - 100
    peer = AdjustContrast(gamma=math.exp(log_gamma))(image)
    torch.testing.assert_close(gamma(image, log_gamma), peer.as_tensor(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("log_gamma", [-2.0, -0.3, 0.3, 2.0])
def test_range_and_order_are_kept(log_gamma):
    image = texture(2, 9, 8, 7) - 0.5
    image[1] *= 7  # each image has its own range
    found = gamma(image, log_gamma)
    for one, was in zip(found, image, strict=True):
        torch.testing.assert_close(one.min(), was.min(), rtol=1e-6, atol=0)
        torch.testing.assert_close(one.max(), was.max(), rtol=1e-6, atol=0)
        assert (one.flatten()[was.flatten().argsort()].diff() >= 0).all()
        assert ((one - was) * math.copysign(1, log_gamma) < 1e-6).all()  # below 0 brightens, above 0 darkens


def test_inverse():
    image = texture(1, 9, 8, 7, dtype=torch.float64)
    torch.testing.assert_close(gamma(gamma(image, 0.4), -0.4), image, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, -7.0, 1e-4])
def test_constant_image_is_unchanged(value, dtype):
    image = torch.full((1, 3, 4, 5), value, dtype=dtype)
    for log_gamma in (-1.0, 1.0):
        assert torch.equal(gamma(image, log_gamma), image)


@pytest.mark.parametrize("log_gamma", [float("nan"), float("inf"), -float("inf")])
def test_invalid_log_gamma(log_gamma):
    with pytest.raises(InputError, match="gamma: log_gamma .* is out of range; give a number from -10 to 10"):
        gamma(texture(1, 4, 5, 6), log_gamma)


def test_sampled_parameters():
    transform = RandGamma(prob=1, log_gamma=(0.1, 0.3)).set_random_state(0)
    drawn = []
    for _ in range(100):
        transform.randomize(texture(1, 2, 3, 4))
        drawn.append(transform.parameters["log_gamma"])
    sizes = [abs(value) for value in drawn]
    assert 0.1 <= min(sizes) < 0.11 and 0.29 < max(sizes) <= 0.3
    assert 30 < sum(value > 0 for value in drawn) < 70


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandGammad("image", prob=1).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandGamma(prob=1).set_random_state(4)(image))
    assert not torch.equal(found, image)
