"""Spikes are taken out again, and what has none stays as it is: against full k-space, and on a real frame."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from images import k_space, scan, texture
from monai.data import MetaTensor
from scipy import ndimage

from heartseg.artifacts import Despiked, despike, spike
from heartseg.artifacts.despike import CORE, MIN_SHARE, REACH
from heartseg.errors import InputError
from heartseg.phantoms.cine import GROUPS, cine_phantom, draw_patient

SPIKES = [[15, -9], [-21, 6], [3, 14]]  # beyond 6 periods, off both axes, further apart than a point's surroundings


@pytest.fixture(scope="module")
def cine() -> torch.Tensor:
    """The slices ``[slices, x, y]`` of a small cine phantom at end-diastole, float32."""
    rng = np.random.default_rng(3)
    phantom = cine_phantom(rng, draw_patient(rng, next(iter(GROUPS))), size="small")
    return torch.from_numpy(np.asarray(phantom.images[0], dtype=np.float32)).movedim(-1, 0)


def left(found: torch.Tensor, clean: torch.Tensor, spiked: torch.Tensor) -> float:
    """The share of the stripes' energy that is left."""
    return float((found - clean).square().sum() / (spiked - clean).square().sum())


# What has no spike


@pytest.mark.parametrize("shape", [(64, 64), (5, 33, 40), (2, 3, 31, 17)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_noise_is_unchanged(shape, dtype):
    image = texture(*shape, dtype=dtype)
    found = despike(image)
    assert found.dtype == dtype and torch.equal(found, image)
    assert found.data_ptr() != image.data_ptr()


def test_a_heart_is_unchanged(cine):
    assert torch.equal(despike(cine), cine)
    normalised = (cine - cine.mean()) / cine.std()
    assert torch.equal(despike(normalised), normalised)


@pytest.mark.parametrize("value", [0.0, 7.0, -3.5])
def test_a_constant_slice_is_unchanged(value):
    image = torch.full((2, 40, 36), value)
    assert torch.equal(despike(image), image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (7, 6), (3, 9, 4)])
def test_slices_too_small_for_a_spike_are_unchanged(shape):
    image = texture(*shape)
    assert torch.equal(despike(image), image)


# What has some


def test_spikes_of_a_slice_are_removed(cine):
    """From 0.4 of the centre up, less than 1 % of a spike's energy remains."""
    for intensity in (0.4, 0.8, 1.2):
        spiked = spike(cine, intensity, SPIKES, spatial_dims=2)
        found = despike(spiked)
        assert left(found, cine, spiked) < 0.01
        assert (found - cine).std() < 0.1 * cine.std() < (spiked - cine).std()


def test_a_spike_of_a_whole_stack_is_removed_slice_by_slice(cine):
    """With a frequency along the slices too, each slice has the wave at a different phase."""
    stack = cine.movedim(0, -1)
    spiked = spike(stack, 0.8, [[15, -9, 2], [-21, 6, 1]], spatial_dims=3)
    found = despike(spiked.movedim(-1, 0)).movedim(0, -1)
    assert left(found, stack, spiked) < 0.01


def test_only_slices_with_a_spike_change(cine):
    mixed = cine.clone()
    mixed[1] = spike(cine[1], 0.8, SPIKES, spatial_dims=2)
    found = despike(mixed)
    others = [index for index in range(len(cine)) if index != 1]
    assert torch.equal(found[others], cine[others]) and left(found[1], cine[1], mixed[1]) < 0.01


@pytest.mark.parametrize(
    "frequency", [(3, 5), (-4, 4), (2, 1), (0, 20), (25, 0), (-30, 0)], ids=lambda f: f"{f[0]},{f[1]}"
)
def test_low_frequencies_and_the_axes_are_unchanged(cine, frequency):
    """Anatomy and the cut at the image's border are bright there."""
    spiked = spike(cine, 0.8, [frequency], spatial_dims=2)
    assert torch.equal(despike(spiked), spiked)


def test_a_point_too_dim_to_be_visible_is_unchanged(cine):
    """In a smooth image any point stands out; test just above and below 0.2 % of the centre."""
    axes = (torch.linspace(-1, 1, n, dtype=torch.float64) ** 2 for n in (64, 64))
    rows, columns = (torch.exp(-4 * axis) for axis in axes)
    image = rows[:, None] * columns
    # a wave is two points, each half as high: 2 cos(a) = exp(ia) + exp(-ia)
    dim, bright = (spike(image, 2 * share * MIN_SHARE, [[17, 13]], spatial_dims=2) for share in (0.9, 1.1))
    assert torch.equal(despike(dim), dim) and not torch.equal(despike(bright), bright)
    assert left(despike(bright), image, bright) < 0.01


def test_a_spike_keeps_its_phase_and_other_points_their_values():
    """It is reduced to the geometric mean of the 49 points around it, including itself."""
    image = texture(40, 36, dtype=torch.float64)
    spiked = spike(image, 0.8, [[15, -9]], spatial_dims=2)
    before, after = (k_space(each - spiked.min(), 2) for each in (spiked, despike(spiked)))
    middle, x, y = (20, 18), 20 + 15, 18 - 9
    changed = (after - before).abs() > 1e-9 * before[middle].abs()
    assert changed.nonzero().tolist() == [[20 - 15, 18 + 9], [x, y]]  # a real image has each point twice
    around = before[x - REACH : x + REACH + 1, y - REACH : y + REACH + 1].abs()
    assert around.shape == (7, 7)
    assert float(after[x, y].abs()) == pytest.approx(float(around.log().mean().exp()), rel=1e-3)
    assert float(after[x, y].angle()) == pytest.approx(float(before[x, y].angle()), abs=1e-9)


# Against a reference


def reference(image: np.ndarray, threshold: float) -> np.ndarray:
    """The definition on all of k-space, a slice at a time."""
    low = image.min()
    spectrum = np.fft.fft2(image - low)
    centre, magnitude = spectrum[0, 0].real, np.abs(spectrum)
    logs = np.log(magnitude + max(1e-6 * centre, np.finfo(np.float32).tiny))
    around = ndimage.uniform_filter(logs, 2 * REACH + 1, mode="wrap")
    rows, columns = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in image.shape), indexing="ij")
    tested = (rows**2 + columns**2 > CORE**2) & (rows != 0) & (columns != 0)
    spikes = tested & (logs - around > math.log(threshold)) & (magnitude > MIN_SHARE * centre)
    return np.fft.ifft2(np.where(spikes, spectrum * np.exp(around - logs), spectrum)).real + low


@pytest.mark.parametrize("shape", [(64, 64), (33, 40), (40, 33), (17, 15), (8, 23), (96, 5), (5, 96)])
@pytest.mark.parametrize("threshold", [2, 10])
def test_against_all_of_k_space(shape, threshold):
    """Odd and even sizes, and slices narrower than the neighbourhood; at 2, many points of noise stand out."""
    image = texture(4, *shape, dtype=torch.float64)
    rng = np.random.default_rng(0)
    places = [[int(rng.integers(1, n)) - n // 2 for n in shape] for _ in range(4)]
    places = [place for place in places if any(place)]
    image[1:] = spike(image[1:], 0.5, places, spatial_dims=2)
    found = despike(image, threshold)
    expected = np.stack([reference(one, threshold) for one in image.numpy()])
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)
    single = despike(image.float(), threshold)
    np.testing.assert_allclose(single.numpy(), expected, rtol=0, atol=1e-5)


def test_the_reference_finds_spikes():
    """Otherwise it would agree with a function that does nothing."""
    image = spike(texture(64, 64, dtype=torch.float64), 0.5, SPIKES, spatial_dims=2).numpy()
    assert np.abs(reference(image, 10) - image).std() > 0.1


# What comes in and goes out


def test_half_precision(cine):
    image = (cine / cine.max()).half()
    spiked = spike(image, 0.8, SPIKES, spatial_dims=2)
    found = despike(spiked)
    assert found.dtype == torch.float16
    assert left(found.float(), image.float(), spiked.float()) < 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_type_metadata_and_the_input_are_kept(dtype):
    image = scan(1, 40, 36, 3, dtype=dtype)
    spiked = spike(image.movedim(-1, 0), 0.8, SPIKES, spatial_dims=2)
    before = spiked.clone()
    found = despike(spiked)
    assert torch.equal(spiked, before) and not torch.equal(found, spiked)
    assert isinstance(found, MetaTensor) and found.dtype == dtype and found.shape == spiked.shape
    assert found.meta["filename_or_obj"] == "a.nii.gz" and torch.equal(found.affine, spiked.affine)
    assert found.applied_operations == spiked.applied_operations != []


@pytest.mark.parametrize("threshold", [1, 0, -3, 0.5, float("nan"), True, "10", None])
def test_invalid_threshold(threshold):
    with pytest.raises(InputError, match="despike: threshold .* is not a ratio above 1; give one such as 10"):
        despike(texture(8, 8), threshold)
    if threshold is not None:
        with pytest.raises(InputError, match="despike: threshold"):
            Despiked("image", threshold)


@pytest.mark.parametrize(
    "image", [torch.ones(8, 8, dtype=torch.bool), torch.ones(8), torch.ones(0, 8, 8), torch.ones(8, 8) * 1j, [[1.0]]]
)
def test_invalid_image(image):
    with pytest.raises(InputError, match="^image: "):
        despike(image)


# On the stacks of a dictionary


def test_dictionary_form():
    image = scan(1, 40, 36, 3)
    image[0, :, :, 1] = spike(image[0, :, :, 1].as_tensor(), 0.8, SPIKES, spatial_dims=2)
    before = image.clone()
    data = {"image": image, "label": "as it is"}
    found = Despiked("image", 10)(data)
    assert list(found) == ["image", "label"] and found["label"] == "as it is"
    assert data["image"] is image and torch.equal(image, before)
    stack = found["image"]
    assert isinstance(stack, MetaTensor) and stack.shape == image.shape and stack.is_contiguous()
    assert stack.meta["filename_or_obj"] == "a.nii.gz" and torch.equal(stack.affine, image.affine)
    assert stack.applied_operations == image.applied_operations != []
    for index in range(3):
        slice_ = image[0, :, :, index].as_tensor()
        # A batch's FFT and a slice's may differ in the last digits: 1e-5 of the intensities, which are about 1.
        torch.testing.assert_close(stack.as_tensor()[0, :, :, index], despike(slice_), rtol=1e-5, atol=1e-5)
        assert torch.equal(stack.as_tensor()[0, :, :, index], slice_) is (index != 1)
    plain = Despiked("image", 10)({"image": image.as_tensor()})["image"]
    assert not isinstance(plain, MetaTensor) and torch.equal(plain, stack.as_tensor())


def test_threshold_none_is_the_identity():
    image = spike(scan(1, 40, 36, 3).movedim(-1, 0), 0.8, SPIKES, spatial_dims=2).movedim(0, -1)
    assert Despiked("image", None)({"image": image})["image"] is image


def test_missing_keys():
    assert Despiked("image", allow_missing_keys=True)({}) == {}
    with pytest.raises(KeyError):
        Despiked("image")({})


# On real frames


@pytest.fixture(scope="module")
def frames(real_data) -> list[Path]:
    folder = real_data / "ACDC" / "imagesTr"
    if not folder.is_dir():
        pytest.skip(f"no real cine: {folder} is not a folder")
    return sorted(folder.glob("*.nii.gz"))[::20]


def test_a_real_frame(frames):
    """On the scanner's grid: clean frames are unchanged; under 3 % of the energy of moderate spikes remains."""
    assert len(frames) == 4
    for path in frames:
        stack = torch.from_numpy(np.asarray(nib.load(path).dataobj, dtype=np.float32))
        clean = Despiked("image")({"image": stack[None]})["image"][0]
        assert torch.equal(clean, stack)
        spiked = spike(stack, 0.8, [[25, -18, 1], [-31, 40, 0], [9, 33, 2]], spatial_dims=3)
        found = Despiked("image")({"image": spiked[None]})["image"][0]
        assert left(found, stack, spiked) < 0.03
