"""Properties of every artifact's function: type, metadata, input, leading axes, offset and scale."""

import pickle

import pytest
import torch
from images import CALLS, FIXED, NAMES, SPACING, TURNED, act, scan, texture
from monai.data import MetaTensor, decollate_batch, list_data_collate

from heartseg import artifacts
from heartseg.errors import InputError

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SHAPES = [(1, 1, 1), (1, 5, 7), (6, 1, 5), (2, 3, 1), (2, 2, 2), (13, 11, 7), (1, 1), (1, 7), (2, 1), (17, 13), (8, 8)]


def same_bits(one, other):
    return one.dtype == other.dtype and one.contiguous().view(torch.uint8).equal(other.contiguous().view(torch.uint8))


def test_every_artifact_is_tested():
    assert set(NAMES) == set(artifacts.ARTIFACTS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_strength_zero_is_the_identity(name, dtype):
    for dims, shape in ((3, (2, 6, 5, 7)), (2, (2, 6, 5)), (3, (6, 5, 7)), (3, (2, 1, 1, 6, 5, 7))):
        image = texture(*shape, dtype=dtype) - 0.3
        image.view(-1)[:2] = torch.tensor([0.0, -0.0])
        found = act(name, image, dims, 0)
        assert same_bits(found, image)
        assert found.data_ptr() != image.data_ptr()
    found = act(name, scan(1, 6, 5, 7, dtype=dtype), strength=0)
    assert isinstance(found, MetaTensor)
    assert same_bits(found.as_tensor(), scan(1, 6, 5, 7, dtype=dtype).as_tensor())


@pytest.mark.parametrize("name", NAMES)
def test_result_shares_no_memory_with_the_image(name):
    for image in (texture(1, 6, 5, 7), texture(1, 6, 5, 7).expand(2, 6, 5, 7), scan(1, 6, 5, 7)):
        for strength in (0, None):
            before = image.clone()
            act(name, image, strength=strength).fill_(-9)
            assert torch.equal(image, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_type_is_kept_and_half_is_computed_in_float32(name, dtype):
    image = texture(2, 8, 9, 7, dtype=dtype)
    found = act(name, image)
    assert found.dtype == dtype and found.shape == image.shape and found.isfinite().all()
    assert not torch.equal(found, image)
    if dtype != torch.float64:
        assert torch.equal(found, act(name, image.float()).to(dtype))
    elif name in FIXED:
        coarse = act(name, image.float()).double()
        torch.testing.assert_close(found, coarse, rtol=0, atol=1e-5)
        assert not torch.equal(found, coarse)  # so it was not computed in float32


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
@pytest.mark.parametrize("name", NAMES)
def test_integers_become_float32(name, dtype):
    image = (200 * texture(2, 6, 5, 7)).to(dtype)
    untouched = act(name, image, strength=0)  # the identity, bit for bit
    assert untouched.dtype == dtype and torch.equal(untouched, image) and untouched.data_ptr() != image.data_ptr()
    found = act(name, image)
    assert found.dtype == torch.float32
    assert torch.equal(found, act(name, image.float()))
    assert act(name, MetaTensor(image)).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_kept(name):
    image = scan(1, 6, 5, 7)
    for strength in (0, None):
        found = act(name, image, strength=strength)
        assert isinstance(found, MetaTensor)
        assert torch.equal(found.affine, TURNED)
        assert found.meta["filename_or_obj"] == "a.nii.gz"
        assert found.applied_operations == image.applied_operations != []
        assert found.pending_operations == []
    plain = act(name, texture(1, 6, 5, 7))
    assert type(plain) is torch.Tensor
    assert torch.equal(pickle.loads(pickle.dumps(found)), found)


@pytest.mark.parametrize("name", NAMES)
def test_a_collated_batch(name):
    """As from MONAI's data loader: one tensor, with an affine for each image."""
    scans = [scan(1, 6, 5, 7, seed=seed) for seed in (1, 2)]
    found = act(name, list_data_collate([{"image": image} for image in scans])["image"])
    assert found.is_batch and found.shape == (2, 1, 6, 5, 7)
    for one, image in zip(decollate_batch(found), scans, strict=True):
        assert torch.equal(one.affine, TURNED)
        if name in FIXED:
            torch.testing.assert_close(one.as_tensor(), act(name, image).as_tensor(), rtol=0, atol=1e-6)


def test_a_batch_must_have_one_spacing():
    coarse = MetaTensor(texture(1, 6, 5, 7), affine=2 * TURNED)
    mixed = list_data_collate([{"image": scan(1, 6, 5, 7)}, {"image": coarse}])["image"]
    for name in ("blur", "motion"):
        with pytest.raises(InputError, match=r"spacings of this batch differ; process its images one by one"):
            act(name, mixed)
    assert torch.equal(artifacts.blur(mixed, 2.0, SPACING), artifacts.blur(mixed.as_tensor(), 2.0, SPACING))


@pytest.mark.parametrize("name", FIXED)
def test_leading_axes_are_free(name):
    for dims, shape in ((3, (6, 5, 7)), (2, (6, 5))):
        batch = texture(2, 3, *shape)
        found = act(name, batch, dims)
        assert found.shape == batch.shape
        for b in range(2):
            torch.testing.assert_close(found[b], act(name, batch[b], dims), rtol=0, atol=1e-6)
            for c in range(3):
                torch.testing.assert_close(found[b, c], act(name, batch[b, c], dims), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["noise", "rician"])
def test_noise_of_a_batch(name):
    """Each image gets different noise, scaled by its own range, so f(batch)[i] is not f(batch[i])."""
    image = texture(32, 32, 32)
    found = act(name, torch.stack([image, image, 5 * image]))
    change = found - torch.stack([image, image, 5 * image])
    assert not torch.equal(change[0], change[1])
    assert change[2].std() / change[0].std() == pytest.approx(5, rel=0.02)
    bright = change[:, image > 0.5]  # elsewhere the mean of Rician noise depends on the signal
    assert torch.corrcoef(bright).fill_diagonal_(0).abs().max() < 0.035  # 4.5 / sqrt(32^3 / 2)
    assert torch.equal(found, act(name, torch.stack([image, image, 5 * image])))


@pytest.mark.parametrize("name", NAMES)
def test_strides_do_not_matter(name):
    image = texture(7, 5, 2, 6).permute(2, 3, 1, 0)
    assert not image.is_contiguous()
    torch.testing.assert_close(act(name, image), act(name, image.contiguous()), rtol=0, atol=1e-6)
    every_other = texture(2, 12, 5, 7)[:, ::2]
    torch.testing.assert_close(act(name, every_other), act(name, every_other.clone()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_normalised_image_gets_the_same_artifact(name):
    """Offset and scale commute with the artifact, so negative values are not special."""
    image = texture(2, 8, 9, 7, dtype=torch.float64)
    found = act(name, 3 * image - 2)
    assert found.min() < 0
    torch.testing.assert_close(found, 3 * act(name, image) - 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_image_is_unchanged(name):
    for value in (0.0, 4.0, -3.0):
        image = torch.full((2, 6, 5, 7), value)
        torch.testing.assert_close(act(name, image), image, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_odd_shapes(name, shape):
    image = texture(2, *shape, seed=2)
    found = act(name, image, len(shape))
    assert found.shape == image.shape and found.isfinite().all()
    batch = act(name, torch.stack([image, image]), len(shape))
    if name in FIXED:
        torch.testing.assert_close(batch[1], found, rtol=0, atol=1e-6)
    if name in ("motion", "ghosting") or (name == "spike" and min(shape) > 2):
        axes = tuple(range(1, image.ndim))
        torch.testing.assert_close(found.mean(axes), image.mean(axes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "dims", "words"),
    [
        (torch.ones(1, 4, 4, 4, dtype=torch.bool), 3, "torch.bool is not an image of numbers"),
        (torch.ones(1, 4, 4, 4, dtype=torch.complex64), 3, "torch.complex64 is not an image of numbers"),
        (torch.ones(1, 4, 4, 4).numpy(), 3, "ndarray is not an image of numbers"),
        (torch.ones(4, 4), 3, r"shape \(4, 4\) does not have 3 spatial axes"),
        (torch.ones(2, 0, 4, 4), 3, "does not have 3 spatial axes"),
        (torch.ones(1, 4, 4), 1, "does not have 1 spatial axes"),
        (torch.ones(1, 4, 4, 4, 4), 4, "does not have 4 spatial axes"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_invalid_image(name, image, dims, words):
    """The image is checked before any other argument."""
    call = {
        "noise": lambda: artifacts.noise(image, 0.1, spatial_dims=dims),
        "rician": lambda: artifacts.rician(image, 0.1, spatial_dims=dims),
        "motion": lambda: artifacts.motion(image, [], [], [], spatial_dims=dims),
        "ghosting": lambda: artifacts.ghosting(image, 0.5, 3, spatial_dims=dims),
        "spike": lambda: artifacts.spike(image, 0.5, [[1, 1, 1]], spatial_dims=dims),
        "bias_field": lambda: artifacts.bias_field(image, [[[0.1]]], spatial_dims=dims),
        "slice_dropout": lambda: artifacts.slice_dropout(image, [0], spatial_dims=dims),
        "blur": lambda: artifacts.blur(image, 1.0, spatial_dims=dims),
        "gamma": lambda: artifacts.gamma(image, 0.1, spatial_dims=dims),
    }
    with pytest.raises(InputError, match=words) as caught:
        call[name]()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: results on it cannot be compared")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", list(CALLS))
def test_cuda(name, dtype):
    image = texture(2, 16, 17, 15, dtype=dtype)
    found = act(name, image.cuda())
    assert found.is_cuda and found.dtype == dtype
    assert torch.equal(found, act(name, image.cuda()))
    if name in FIXED:
        torch.testing.assert_close(found.cpu(), act(name, image), rtol=0, atol=1e-3 if dtype == torch.float16 else 1e-5)
    assert torch.equal(act(name, image.cuda(), strength=0).cpu(), image)
    meta = act(name, MetaTensor(image.cuda(), affine=TURNED))
    assert meta.is_cuda and torch.equal(meta.affine.cpu(), TURNED)
