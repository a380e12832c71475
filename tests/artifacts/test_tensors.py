"""Helpers of the artifacts, by hand."""

import numpy as np
import pytest
import torch
from images import SPACING, TURNED, scan, texture
from monai.data import MetaTensor, list_data_collate

from heartseg.artifacts.tensors import (
    apply_along,
    axis_of,
    broadcast_along,
    darkest,
    from_batch,
    half_spectrum,
    intensity_range,
    non_negative,
    spacing_of,
    to_batch,
)
from heartseg.errors import InputError


@pytest.mark.parametrize(
    ("shape", "dims", "inside"),
    [
        ((5, 6), 2, (1, 5, 6)),
        ((5, 6, 7), 3, (1, 5, 6, 7)),
        ((2, 5, 6), 2, (2, 5, 6)),
        ((2, 3, 5, 6), 2, (6, 5, 6)),
        ((2, 3, 5, 6, 7), 3, (6, 5, 6, 7)),
    ],
)
def test_leading_axes_are_merged_and_restored(shape, dims, inside):
    image = texture(*shape)
    x = to_batch(image, dims)
    assert x.shape == inside and torch.equal(x.flatten(), image.flatten())
    found = from_batch(2 * x, image)
    assert torch.equal(found, 2 * image)


@pytest.mark.parametrize(
    ("dtype", "inside", "outside"),
    [
        (torch.float16, torch.float32, torch.float16),
        (torch.bfloat16, torch.float32, torch.bfloat16),
        (torch.float32, torch.float32, torch.float32),
        (torch.float64, torch.float64, torch.float64),
        (torch.uint8, torch.float32, torch.float32),
        (torch.int32, torch.float32, torch.float32),
    ],
)
def test_types(dtype, inside, outside):
    image = (9 * texture(1, 3, 4, 5)).to(dtype)
    x = to_batch(image, 3)
    assert x.dtype == inside
    found = from_batch(x, image)
    assert found.dtype == outside and torch.equal(found, image.to(outside)) and found.data_ptr() != image.data_ptr()


def test_a_metatensor_becomes_a_plain_tensor():
    image = scan(1, 3, 4, 5)
    x = to_batch(image, 3)
    assert type(x) is torch.Tensor
    found = from_batch(x + 1, image)
    assert isinstance(found, MetaTensor) and torch.equal(found.affine, TURNED)
    found.meta["filename_or_obj"] = "b.nii.gz"
    found.affine = torch.eye(4)
    found.applied_operations.clear()
    assert image.meta["filename_or_obj"] == "a.nii.gz"
    assert torch.equal(image.affine, TURNED) and image.applied_operations


@pytest.mark.parametrize(
    ("image", "given", "spacing"),
    [
        (torch.ones(3, 4, 5), None, [1, 1, 1]),
        (torch.ones(3, 4, 5), 2, [2, 2, 2]),
        (torch.ones(3, 4, 5), np.array([1, 2, 3]), [1, 2, 3]),
        (scan(3, 4, 5), None, list(SPACING)),
        (scan(3, 4, 5), (1, 2, 3), [1, 2, 3]),
        (list_data_collate([scan(1, 3, 4, 5), scan(1, 3, 4, 5)]), None, list(SPACING)),
    ],
)
def test_spacing_in_space(image, given, spacing):
    assert spacing_of(image, 3, given) == pytest.approx(spacing)


def test_spacing_of_a_plane_in_any_orientation():
    """The affine's whole columns count: a sagittal image of 2 x 3 mm has no extent along the world's x."""
    sagittal = torch.tensor([[0, 0, 9.0, 0], [2.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1.0]])
    assert spacing_of(MetaTensor(torch.ones(1, 4, 5), affine=sagittal), 2) == [2, 3]
    tilted = torch.tensor([[1.0, 0, 0, 0], [0, 0.6, -0.8, 0], [0, 0.8, 0.6, 0], [0, 0, 0, 1.0]])
    assert spacing_of(MetaTensor(torch.ones(1, 4, 5), affine=tilted), 2) == pytest.approx([1, 1])
    flat = torch.diag(torch.tensor([2.0, 3.0, 1.0]))
    assert spacing_of(MetaTensor(torch.ones(1, 4, 5), affine=flat), 2) == [2, 3]


def test_invalid_spacing():
    with pytest.raises(InputError, match=r"spacing: \(1, 2\) is not 3 positive numbers; give mm per axis"):
        spacing_of(torch.ones(3, 4, 5), 3, (1, 2))
    with pytest.raises(InputError, match=r"spacing: \(0, 1, 1\) is not 3 positive numbers"):
        spacing_of(MetaTensor(torch.ones(1, 3, 4, 5), affine=torch.diag(torch.tensor([0.0, 1, 1, 1]))), 3)
    with pytest.raises(
        InputError, match=r"does not have 3 spatial axes in its affine \(3, 3\); give an affine that fits"
    ):
        spacing_of(MetaTensor(torch.ones(1, 3, 4, 5), affine=torch.eye(3)), 3)


def test_axes_count_from_either_end():
    assert [axis_of(axis, 3) for axis in (0, 1, 2, -1, -2, -3)] == [0, 1, 2, 2, 1, 0]
    for axis, dims in ((3, 3), (-4, 3), (2, 2)):
        with pytest.raises(
            InputError, match=f"axis: {axis} is not one of {dims} spatial axes; count from 0 to {dims - 1}"
        ):
            axis_of(axis, dims)


def test_strengths_are_not_negative():
    assert [non_negative("std", value) for value in (0, 0.5, 3)] == [0, 0.5, 3]
    for value in (-1, -0.1, True, "1", None, float("nan"), float("inf"), [1]):
        with pytest.raises(InputError, match="std: .* is not a strength; give a number of 0 "):
            non_negative("std", value)


def test_darkest():
    image = torch.tensor([[[1.0, -2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    assert torch.equal(darkest(image), torch.tensor([-2.0, 5.0]).reshape(2, 1, 1))


def test_range_by_hand():
    """From 0 to 100 in steps of 1, percentiles 1 and 99; for each image separately."""
    image = torch.arange(101.0).flip(0).reshape(1, 101, 1)
    found = intensity_range(torch.cat([image, -3 * image + 7]))
    torch.testing.assert_close(found, torch.tensor([98.0, 294.0]).reshape(2, 1, 1))


@pytest.mark.parametrize("shape", [(128, 64, 64), (300, 256, 8), (1, 700, 512), (97, 89, 101), (2**18, 1, 1)])
def test_range_of_a_larger_image(shape):
    """Also if brightness varies along one axis only: samples cover all of its positions."""
    for axis in range(3):
        ramp = broadcast_along(torch.linspace(0, 1, shape[axis]), axis, 3).expand(shape).contiguous()
        expected = np.quantile(ramp.numpy(), 0.99) - np.quantile(ramp.numpy(), 0.01)
        assert intensity_range(ramp[None]).item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_half_of_k_space_is_enough(n):
    """For a real image and any weights of its lines, symmetric or not."""
    weights, image = texture(3, n, seed=1, dtype=torch.float64), texture(n, dtype=torch.float64)
    whole = torch.fft.fftshift(torch.fft.fft(image)) * weights
    expected = torch.fft.ifft(torch.fft.ifftshift(whole, dim=-1)).real
    found = torch.fft.irfft(torch.fft.rfft(image) * half_spectrum(weights), n=n)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_half_spectrum_by_hand():
    """Four lines, -2, -1, 0 and 1: centre and edge keep their weights, both sides get their mean."""
    found = half_spectrum(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert found.tolist() == [3.0, 3.0, 1.0]
    assert half_spectrum(torch.tensor([1.0, 2.0, 4.0])).tolist() == [2.0, 2.5]


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_apply_along(axis):
    image = texture(2, 4, 5, 6, dtype=torch.float64)
    matrix = texture(*[image.shape[axis]] * 2, seed=1, dtype=torch.float64)
    expected = np.moveaxis(np.tensordot(matrix.numpy(), image.numpy(), axes=(1, axis)), 0, axis)
    for x in (image, image.transpose(0, 1).contiguous().transpose(0, 1)):
        torch.testing.assert_close(apply_along(x, matrix, axis), torch.from_numpy(expected), rtol=0, atol=1e-13)


def test_broadcast_along():
    assert broadcast_along(torch.arange(3), 1, 4).shape == (1, 3, 1, 1)
