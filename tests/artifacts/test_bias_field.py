"""The bias field against its polynomial, power by power, and against TorchIO."""

import itertools

import numpy as np
import pytest
import torch
from images import scan, texture

from heartseg.artifacts import RandBiasField, RandBiasFieldd, bias_field
from heartseg.errors import InputError


def polynomial(shape, coefficients):
    """``sum c x^i y^j z^k``, one power after the other; each axis runs from -1 to 1."""
    places = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    total = np.zeros(shape)
    for powers in np.ndindex(np.shape(coefficients)):
        term = np.asarray(coefficients)[powers] * np.ones(shape)
        for axis, (place, power) in enumerate(zip(places, powers, strict=True)):
            term *= (place**power).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        total += term
    return torch.from_numpy(total)


@pytest.mark.parametrize(
    ("shape", "powers"),
    [((8, 7, 6), (4, 4, 4)), ((5, 1, 2), (3, 2, 4)), ((9, 4, 3), (1, 1, 1)), ((8, 7), (4, 4)), ((1, 5), (2, 3))],
)
def test_log_of_the_field_is_the_polynomial(shape, powers):
    coefficients = texture(*powers, seed=1, dtype=torch.float64) - 0.5
    image = 5 * texture(*shape, dtype=torch.float64) - 2
    low = image.min()
    found = bias_field(image, coefficients, spatial_dims=len(shape))
    above = image > low
    ratio = torch.log((found - low) / (image - low))
    torch.testing.assert_close(ratio[above], polynomial(shape, coefficients)[above], rtol=0, atol=1e-10)
    torch.testing.assert_close(found[~above], image[~above], rtol=0, atol=1e-12)  # the darkest stays


def test_one_coefficient_by_hand():
    """log 2 times y: half the signal at the low end, all of it in the middle, twice at the high end."""
    image = torch.full((2, 3, 2), 4.0, dtype=torch.float64)
    image[0, 0, 0] = 0.0
    expected = image * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None]
    found = bias_field(image, [[[0.0], [np.log(2)]]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_coefficients_are_not_modified():
    coefficients = np.ones((2, 2, 2))
    bias_field(texture(4, 5, 6, dtype=torch.float64), coefficients)
    tensor = torch.ones(1, 1, 1, dtype=torch.float64)
    bias_field(texture(4, 5, 6, dtype=torch.float64), tensor)
    assert (coefficients == 1).all() and (tensor == 1).all()


@pytest.mark.parametrize("shape", [(8, 10, 6), (7, 9, 5), (8, 5, 12)])
def test_against_torchio(shape):
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed: no peer to compare bias fields with")
    order = 3
    coefficients = (texture(4, 4, 4, seed=3, dtype=torch.float64) - 0.5).numpy()
    powers = [p for p in itertools.product(range(order + 1), repeat=3) if sum(p) <= order]
    ours = np.zeros_like(coefficients)
    for p in powers:
        ours[p] = coefficients[p]
    image = texture(1, *shape)
    image -= image.min()  # so that our zero, the darkest voxel, is TorchIO's
    theirs = torchio.BiasField([float(coefficients[p]) for p in powers], order)
    peer = theirs(torchio.ScalarImage(tensor=image)).data
    torch.testing.assert_close(bias_field(image, ours), peer.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "coefficients", [[0.1], [[0.1]], [[[[0.1]]]], [[[float("nan")]]], [[[float("inf"), 0.1]]]], ids=str
)
def test_invalid_coefficients(coefficients):
    with pytest.raises(
        InputError,
        match="bias_field: coefficients(: not all are finite| do not have 3 axes)",
    ):
        bias_field(texture(1, 4, 5, 6), coefficients)


@pytest.mark.parametrize(("dims", "order", "terms"), [(3, 3, 20), (2, 3, 10), (3, 1, 4)])
def test_sampled_parameters(dims, order, terms):
    """All powers whose sum is at most the order, with coefficients up to the drawn size."""
    transform = RandBiasField(prob=1, coefficient=(0.4, 0.4), order=order).set_random_state(0)
    seen = []
    for _ in range(40):
        transform.randomize(texture(1, *[4] * dims))
        seen.append(transform.parameters["coefficients"])
    drawn = np.array(seen)
    within = np.indices(drawn.shape[1:]).sum(0) <= order
    assert within.sum() == terms and (drawn[:, ~within] == 0).all() and (drawn[:, within] != 0).all()
    assert -0.4 <= drawn.min() < -0.38 and 0.38 < drawn.max() <= 0.4


@pytest.mark.parametrize("order", [0, 2.0, True, "3", None, (1, 3)])
def test_invalid_order(order):
    with pytest.raises(InputError, match="RandBiasField: order .* is not a count"):
        RandBiasField(order=order)


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandBiasFieldd("image", prob=1, order=2).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandBiasField(prob=1, order=2).set_random_state(4)(image))
    assert not torch.equal(found, image)
