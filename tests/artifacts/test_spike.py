"""Spikes against points added to the whole of complex k-space, and against TorchIO."""

import numpy as np
import pytest
import torch
from images import k_space, reconstruct, scan, texture

from heartseg.artifacts import RandSpike, RandSpiked, spike
from heartseg.errors import InputError


def reference(image, intensity, frequencies, dims):
    """Add points as high as a share of the centre of the image above its darkest voxel."""
    low = image.min()
    spectrum = k_space(image - low, dims)
    middle = tuple(n // 2 for n in image.shape)
    height = intensity * spectrum[middle].real
    for frequency in frequencies:
        spectrum[tuple(m + f for m, f in zip(middle, frequency, strict=True))] += height
    return reconstruct(spectrum, dims) + low


@pytest.mark.parametrize("shape", [(8, 7, 6), (9, 5, 1), (2, 11, 4)])
def test_against_all_of_k_space(shape):
    image = 3 * texture(*shape, dtype=torch.float64) - 1
    rng = np.random.default_rng(0)
    for count in (1, 2, 5):
        places = [[int(rng.integers(n)) - n // 2 for n in shape] for _ in range(count)]
        places = [place if any(place) else [1, 0, 0] for place in places]
        found = spike(image, 0.8, places)
        torch.testing.assert_close(found, reference(image, 0.8, places, 3), rtol=0, atol=1e-12)
        assert found.mean() == pytest.approx(image.mean().item(), abs=1e-12)


def test_a_plane_and_the_same_spike_twice():
    image = texture(6, 9, dtype=torch.float64)
    places = [[1, -4], [2, 0], [2, 0], [-3, 3]]  # -3 of 6 is the last frequency of the grid
    found = spike(image, 1.2, torch.tensor(places), spatial_dims=2)
    torch.testing.assert_close(found, reference(image, 1.2, places, 2), rtol=0, atol=1e-12)


def test_one_wave_by_hand():
    """Two periods over 8 voxels, as high as half the mean above the darkest voxel: 0.5 * (3 - 1)."""
    image = torch.tensor([1.0, 5.0]).repeat(4).reshape(8, 1, 1).expand(8, 2, 3).double()
    wave = torch.tensor([1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0, 0.0]).reshape(8, 1, 1).double()
    torch.testing.assert_close(spike(image, 0.5, [[2, 0, 0]]), image + wave, rtol=0, atol=1e-14)


def test_energy_of_the_stripes():
    """A wave adds half its height squared to each voxel's energy, if the image has nothing at this frequency."""
    image = torch.zeros(16, 12, 10, dtype=torch.float64)
    image[:, 6:] = 2.0  # a mean of 1, nothing along the first axis
    found = spike(image, 0.6, [[3, 1, 0]])
    assert found.square().mean() == pytest.approx(image.square().mean().item() + 0.6**2 / 2, rel=1e-12)


def test_height_depends_on_each_image():
    image = texture(5, 6, 7, dtype=torch.float64)
    found = spike(torch.stack([image, 4 * image]), 0.5, [[1, 2, 0]])
    torch.testing.assert_close(found[1], 4 * found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(10, 9, 8), (11, 6, 7)])
def test_against_torchio(shape):
    """TorchIO's height is relative to the largest point of k-space, which here is the centre."""
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed: no peer to compare spikes with")
    image = texture(1, *shape)
    image -= image.min()  # so that our zero, the darkest voxel, is TorchIO's
    places = np.random.default_rng(0).uniform(size=(5, 3))
    frequencies = [[int(p * n) - n // 2 for p, n in zip(place, shape, strict=True)] for place in places]
    for count, intensity in ((1, 1.2), (5, 0.4)):
        peer = torchio.Spike(places[:count], intensity)(torchio.ScalarImage(tensor=image)).data
        found = spike(image, intensity, frequencies[:count])
        torch.testing.assert_close(found, peer, rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    ("intensity", "frequencies", "words"),
    [
        (-1, [[1, 0, 0]], "spike: intensity: -1 is not a strength"),
        (False, [[1, 0, 0]], "intensity: False is not a strength"),
        (1, [[1, 0]], r"frequencies are not \[spikes, 3\] whole numbers"),
        (1, [1, 0, 0], "frequencies are not"),
        (1, [], "frequencies are not"),
        (1, [[1, 0, 0], [0, 0, 0]], "frequencies are not"),
    ],
)
def test_invalid_numbers(intensity, frequencies, words):
    with pytest.raises(InputError, match=words):
        spike(texture(1, 4, 5, 6), intensity, frequencies)


def test_sampled_parameters():
    """Any whole frequency of the grid except the centre."""
    transform = RandSpike(prob=1, intensity=(0.2, 0.6), count=(1, 3)).set_random_state(0)
    image, seen = texture(1, 2, 3, 4), []
    for _ in range(150):
        transform.randomize(image)
        seen.append(transform.parameters)
    assert {len(p["frequencies"]) for p in seen} == {1, 2, 3}
    places = {tuple(f) for p in seen for f in p["frequencies"]}
    assert places == {(x, y, z) for x in (-1, 0) for y in (-1, 0, 1) for z in (-2, -1, 0, 1)} - {(0, 0, 0)} | {
        (0, 0, 1)
    }
    intensities = [p["intensity"] for p in seen]
    assert 0.2 <= min(intensities) < 0.23 and 0.57 < max(intensities) <= 0.6


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2), (1, 1, 2), (1, 5), (2, 2)])
def test_the_mean_is_kept_along_single_voxels_too(shape):
    transform = RandSpike(prob=1, intensity=(1, 1), count=20).set_random_state(0)
    image = texture(1, *shape)
    assert transform(image).mean() == pytest.approx(image.mean().item(), abs=1e-5)


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandSpiked("image", prob=1).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandSpike(prob=1).set_random_state(4)(image))
    assert not torch.equal(found, image)
