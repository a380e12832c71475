"""Ghosting against the whole of complex k-space, by hand, and against TorchIO."""

import pytest
import torch
from images import k_space, reconstruct, scan, texture
from monai.data import MetaTensor

from heartseg.artifacts import RandGhosting, RandGhostingd, ghosting
from heartseg.errors import InputError


def reference(image, intensity, count, axis, restore, dims):
    spectrum = k_space(image, dims).movedim(axis - dims, 0)
    n, whole = len(spectrum), spectrum.clone()
    spectrum[::count] *= 1 - intensity
    kept = round(restore * n) // 2 if restore < 1 else n  # 1 keeps all, also the last line of an odd number
    lines = slice(max(n // 2 - kept, 0), n // 2 + kept)
    spectrum[lines] = whole[lines]
    spectrum[n // 2] = whole[n // 2]
    return reconstruct(spectrum.movedim(0, axis - dims), dims)


@pytest.mark.parametrize("n", [12, 13, 16, 29])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("restore", [0.0, 0.02, 0.3, 1.0])
def test_against_all_of_k_space(n, count, restore):
    for axis, shape in enumerate([(n, 5, 4), (4, n, 5), (5, 4, n)]):
        image = texture(*shape, dtype=torch.float64)
        found = ghosting(image, 0.7, count, axis, restore)
        torch.testing.assert_close(found, reference(image, 0.7, count, axis, restore, 3), rtol=0, atol=1e-12)
        torch.testing.assert_close(found.sum(axis), image.sum(axis))  # the mean is kept
    for axis, shape in enumerate([(n, 6), (7, n)]):
        image = texture(*shape, dtype=torch.float64)
        found = ghosting(image, 1.5, count, axis, restore, spatial_dims=2)
        torch.testing.assert_close(found, reference(image, 1.5, count, axis, restore, 2), rtol=0, atol=1e-12)


def test_ghosts_of_a_point_by_hand():
    """Without every 4th of 40 lines, a point has three ghosts 10 voxels apart, each -1/4 of it.

    The centre of k-space, which is one of these lines, is restored: 1/40 everywhere.
    """
    image = torch.zeros(40, 3, 2, dtype=torch.float64)
    image[7, 1, 0] = 1.0
    expected = torch.zeros_like(image)
    expected[[17, 27, 37], 1, 0] = -1 / 4
    expected[7, 1, 0] = 3 / 4
    expected[:, 1, 0] += 1 / 40
    torch.testing.assert_close(ghosting(image, 1.0, 4, restore=0), expected, rtol=0, atol=1e-14)
    half = (image + expected) / 2  # linear in the intensity
    torch.testing.assert_close(ghosting(image, 0.5, 4, restore=0), half, rtol=0, atol=1e-14)


def test_energy_decreases_up_to_intensity_2():
    """Up to an intensity of 2 no line of k-space gets stronger."""
    image = texture(2, 12, 13, 9, dtype=torch.float64) - 0.5
    for intensity in (0.25, 1.0, 2.0):
        assert ghosting(image, intensity, 3).square().sum() < image.square().sum()
    assert ghosting(image, 4.0, 3).square().sum() > image.square().sum()


@pytest.mark.parametrize("shape", [(20, 15, 8), (17, 12, 9)])
@pytest.mark.parametrize(("restore", "ours"), [(None, 0.0), (0.15, 0.15), (0.5, 0.5)])
def test_against_torchio(shape, restore, ours):
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed: no peer to compare ghosts with")
    image = texture(1, *shape)
    for axis, count, intensity in ((0, 4, 0.6), (1, 3, 1.0), (2, 7, 0.25)):
        peer = torchio.Ghosting(count, axis, intensity, restore)(torchio.ScalarImage(tensor=image)).data
        torch.testing.assert_close(ghosting(image, intensity, count, axis, ours), peer, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((-0.1, 4), "ghosting: intensity: -0.1 is not a strength"),
        ((float("nan"), 4), "intensity: nan is not a strength"),
        ((True, 4), "intensity: True is not a strength"),
        (("much", 4), "intensity: 'much' is not a strength"),
        ((0.5, 0), "count 0 is not a count; give a whole number of 1 or more"),
        ((0.5, 2.5), "count 2.5"),
        ((0.5, float("nan")), "count nan"),
        ((0.5, 4, 0, -0.1), "restore -0.1"),
        ((0.5, 4, 0, 1.1), "restore 1.1"),
        ((0.5, 4, 3), "axis: 3 is not one of 3 spatial axes"),
        ((0.5, 4, -4), "axis: -4 is not one of 3 spatial axes"),
    ],
)
def test_invalid_numbers(numbers, words):
    with pytest.raises(InputError, match=words):
        ghosting(texture(1, 4, 5, 6), *numbers)


@pytest.mark.parametrize("dims", [2, 3])
def test_sampled_parameters(dims):
    transform = RandGhosting(prob=1, intensity=(0.2, 0.6), count=(3, 5), restore=0.1).set_random_state(0)
    image, seen = texture(1, *[6] * dims), []
    for _ in range(60):
        transform.randomize(image)
        seen.append(transform.parameters)
    intensities = [p["intensity"] for p in seen]
    assert 0.2 <= min(intensities) < 0.25 and 0.55 < max(intensities) <= 0.6
    assert {p["count"] for p in seen} == {3, 4, 5}
    assert {p["axis"] for p in seen} == set(range(dims))
    assert {p["restore"] for p in seen} == {0.1}
    transform = RandGhosting(prob=1, count=7, axis=1)
    transform.randomize(image)
    assert (transform.parameters["count"], transform.parameters["axis"]) == (7, 1)


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandGhostingd("image", prob=1, count=3).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandGhosting(prob=1, count=3).set_random_state(4)(image))
    assert not torch.equal(found, image)


def test_ghosts_never_run_through_the_slices_of_a_stack():
    """Each slice of a stack has its own k-space; in a volume any axis may be the phase-encoding axis."""
    thick, even = torch.diag(torch.tensor([1.5, 1.5, 10, 1.0])), torch.eye(4)
    for affine, axes in ((thick, {0, 1}), (even, {0, 1, 2})):
        image, transform = MetaTensor(texture(1, 6, 7, 5), affine=affine), RandGhosting(prob=1)
        drawn = set()
        for seed in range(30):
            transform.set_random_state(seed)(image)
            drawn.add(int(transform.parameters["axis"]))
        assert drawn == axes
