"""Inputs of the random transforms: accepted types, refusals, and use before any draw."""

import numpy as np
import pytest
import torch
from images import NAMES, TURNED, texture
from monai.data import MetaTensor, set_track_meta

from heartseg.artifacts import (
    ARTIFACTS,
    RandBlur,
    RandGhosting,
    RandMotion,
    RandMRIArtifacts,
    RandNoise,
    RandSliceDropout,
    at_severity,
    bias_field,
    blur,
    gamma,
    motion,
    noise,
    rician,
    slice_dropout,
    spike,
)
from heartseg.errors import InputError

IMAGE = texture(1, 6, 7, 8)


@pytest.fixture
def without_metadata():
    set_track_meta(False)
    yield
    set_track_meta(True)


@pytest.mark.parametrize("cls", [*ARTIFACTS.values(), RandMRIArtifacts])
def test_apply_before_any_draw(cls):
    with pytest.raises(RuntimeError, match="call the `randomize"):
        cls(prob=1.0)(IMAGE, randomize=False)


@pytest.mark.parametrize("name", NAMES)
def test_output_type_is_the_same_with_and_without_the_artifact(name):
    image = (100 * IMAGE).to(torch.int16)
    hit, missed = at_severity(name).set_random_state(0)(image), ARTIFACTS[name](prob=0.0)(image)
    assert hit.dtype == missed.dtype == torch.float32 and torch.equal(missed.as_tensor(), image.float())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_flow(name):
    image = IMAGE.clone().requires_grad_()
    at_severity(name).set_random_state(0)(image).square().sum().backward()
    assert image.grad.isfinite().all() and image.grad.any()


def test_numpy_numbers_are_accepted():
    assert torch.equal(noise(IMAGE, np.float32(0.5)), noise(IMAGE, 0.5))
    assert torch.equal(gamma(IMAGE, np.float64(0.25)), gamma(IMAGE, 0.25))
    assert RandNoise(prob=np.float32(0.5), std=np.array([0.1, 0.2])).std == (0.1, 0.2)
    assert RandMotion(moves=np.int64(3)).moves == 3
    times = torch.tensor([0.3])
    assert torch.equal(motion(IMAGE, [[1, 2, 3]], [[0, 0, 1]], times), motion(IMAGE, [[1, 2, 3]], [[0, 0, 1]], [0.3]))


def test_spacing_is_used_if_metadata_is_not_tracked(without_metadata):
    scan = MetaTensor(IMAGE, affine=TURNED)  # 2, 1.5 and 4 mm
    blurred = RandBlur(prob=1.0, std=(2, 2))(scan)
    assert type(blurred) is torch.Tensor
    fine = RandBlur(prob=1.0, std=(2, 2))(IMAGE)  # 1 mm
    assert not torch.allclose(blurred, fine, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandGhosting(axis=9), "axis 9 is not a spatial axis"),
        (lambda: RandGhosting(axis="x"), "axis 'x' is not a spatial axis"),
        (lambda: RandGhosting(restore=2), "restore 2 is not a share"),
        (lambda: RandGhosting(restore=None), "restore None is not a share"),
        (lambda: RandMotion(in_plane="z"), "in_plane 'z' is not a spatial axis"),
        (lambda: RandMotion(in_plane=2, axis=2), "nothing moves"),
        (lambda: RandSliceDropout(axis=1.0), "axis 1.0 is not a spatial axis"),
        (lambda: RandMRIArtifacts(strength=6), r"slice_dropout, strength 6\)"),
        (lambda: gamma(IMAGE, 710.0), "from -10 to 10"),
        (lambda: gamma(IMAGE, "a"), "from -10 to 10"),
        (lambda: at_severity("gamma", 1000), "give at most 10"),
        (lambda: at_severity("blur", 1e12), "wider than any scan"),
        (lambda: blur(IMAGE, 1e12), "wider than any scan"),
        (lambda: spike(IMAGE, 1, [[0.5, 0, 0]]), "whole periods"),
        (lambda: spike(IMAGE, 1, [[1, 0, 0], [1, 0]]), "unequal length"),
        (lambda: spike(IMAGE, 1, [[float("nan"), 0, 0]]), "finite"),
        (lambda: bias_field(IMAGE, None), "coefficients: None are not numbers"),
        (lambda: slice_dropout(IMAGE, [1.5]), "slice 1.5 is not one of 8"),
        (lambda: slice_dropout(IMAGE, ["a"]), "are not numbers"),
        (lambda: motion(IMAGE, "abc", [[0, 0, 1]], [0.3]), "rotations: 'abc' are not numbers"),
        (lambda: motion(IMAGE, [[1, 2, 3]], [[0, 0, 1]], [0.3], spacing="abc"), "spacing: 'abc' is not 3 positive"),
        (lambda: motion(IMAGE, [[1, 2, 3]], [[0, 0, 1]], [0.3], axis="a"), "axis: a is not one of 3"),
    ],
)
def test_invalid_input_gives_one_line(make, message):
    with pytest.raises(InputError, match=message) as info:
        make()
    assert "\n" not in str(info.value)


def test_rician_noise_is_independent_in_both_channels():
    dark = torch.zeros(1, 40, 40, 40)
    dark[:, ::2] = 1.0
    noisy = rician(dark, 0.1)[:, 1::2]
    # Rayleigh: mean sigma sqrt(pi / 2), second moment 2 sigma^2; correlated channels would have another mean.
    assert noisy.mean() == pytest.approx(0.1 * (torch.pi / 2) ** 0.5, rel=0.02)
    assert noisy.square().mean() == pytest.approx(0.02, rel=0.03)
