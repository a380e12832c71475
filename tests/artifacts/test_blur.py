"""Blur against SciPy's Gaussian filter, in mm."""

import math

import numpy as np
import pytest
import torch
from images import SPACING, scan, texture
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from heartseg.artifacts import RandBlur, RandBlurd, blur
from heartseg.errors import InputError


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.5, 4.0), (0.6, 9.0, 0.8)])
@pytest.mark.parametrize("std", [0.1, 0.7, 2.0, 5.0])
def test_against_scipy(std, spacing):
    for shape in ((9, 12, 7), (1, 5, 20), (2, 2, 2)):
        image = texture(*shape, dtype=torch.float64)
        sigma = [std / mm for mm in spacing]
        expected = torch.from_numpy(gaussian_filter(image.numpy(), sigma, mode="nearest", truncate=4))
        torch.testing.assert_close(blur(image, std, spacing), expected, rtol=0, atol=1e-13)


def test_a_plane_against_scipy():
    image = texture(11, 8, dtype=torch.float64)
    expected = gaussian_filter(image.numpy(), [1.2, 0.6], mode="nearest", truncate=4)
    found = blur(image, 1.8, (1.5, 3.0), spatial_dims=2)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-13)


def test_a_point_by_hand():
    """A standard deviation of 0.25 mm reaches 4 * 0.25 = 1 voxel of 1 mm and no voxel of 4 mm."""
    image = torch.zeros(5, 5, 5, dtype=torch.float64)
    image[2, 2, 2] = 1.0
    near = math.exp(-(1**2) / (2 * 0.25**2))
    line = torch.tensor([0.0, near, 1.0, near, 0.0], dtype=torch.float64) / (1 + 2 * near)
    expected = torch.zeros_like(image)
    expected[2] = line[:, None] * line
    torch.testing.assert_close(blur(image, 0.25, (4, 1, 1)), expected, rtol=0, atol=1e-15)


def test_spacing_from_the_affine():
    image = scan(1, 9, 8, 7)
    # A spacing computed from an affine may be rounded differently from a given one.
    torch.testing.assert_close(
        blur(image, 2.0).as_tensor(), blur(image.as_tensor(), 2.0, SPACING), rtol=1e-6, atol=1e-6
    )
    assert torch.equal(blur(image, 2.0, 1).as_tensor(), blur(image.as_tensor(), 2.0))
    for dims, spacing in ((2, SPACING[:2]), (3, SPACING)):
        sample = scan(1, *(9, 8, 7)[:dims])  # the axes of a 2D image may point anywhere in space
        found, expected = blur(sample, 2.0, spatial_dims=dims), blur(sample, 2.0, spacing, dims)
        torch.testing.assert_close(found.as_tensor(), expected.as_tensor(), rtol=1e-6, atol=1e-6)  # as above


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constants_are_kept_and_the_range_is_not_exceeded(dtype):
    eps = 20 * torch.finfo(dtype).eps
    constant = torch.full((1, 9, 8, 7), 1234.5, dtype=dtype)
    torch.testing.assert_close(blur(constant, 3.0), constant, rtol=eps, atol=0)
    for std in (0.5, 3.0, 40.0):
        image = texture(1, 9, 8, 7, dtype=dtype) - 0.5
        found = blur(image, std)
        assert found.min() >= image.min() - eps and found.max() <= image.max() + eps
        assert found.var() < image.var()
        assert found.square().sum() < image.square().sum()


def test_the_mean_is_kept_away_from_the_border():
    image = torch.zeros(30, 30, 30, dtype=torch.float64)
    image[12:18, 12:18, 12:18] = texture(6, 6, 6, dtype=torch.float64)
    assert blur(image, 2.0).sum() == pytest.approx(image.sum().item(), rel=1e-12)


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf"), True, "much", None])
def test_invalid_std(std):
    with pytest.raises(InputError, match="blur: std: .* is not a strength"):
        blur(texture(1, 4, 5, 6), std)


@pytest.mark.parametrize("spacing", [0, -1.0, (1, 2), (1, 2, 0), (1, 2, 3, 4), (1, 2, float("nan")), float("inf")])
def test_invalid_spacing(spacing):
    with pytest.raises(InputError, match=r"spacing: \(.*\) is not 3 positive numbers; give mm per axis"):
        blur(texture(1, 4, 5, 6), 1.0, spacing)


def test_sampled_parameters():
    transform = RandBlur(prob=1, std=(0.5, 2.0)).set_random_state(0)
    widths = []
    for _ in range(60):
        transform.randomize(MetaTensor(texture(1, 2, 3, 4), affine=np.diag([3, 2, 1, 1])))
        widths.append(transform.parameters["std"])
        assert transform.parameters["spacing"] == [3, 2, 1]
    assert 0.5 <= min(widths) < 0.6 and 1.9 < max(widths) <= 2.0


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandBlurd("image", prob=1).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandBlur(prob=1).set_random_state(4)(image))
    assert not torch.equal(found, image)
