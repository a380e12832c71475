"""Any bytes in a header give a valid scan or a one-line error, and never allocate the gigabytes it claims."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
from fuzz import few
from hypothesis import example, given
from hypothesis import strategies as st

from heartseg.data.nifti import LARGEST_VOXEL, MAX_VOXELS, SPACING_LIMITS
from heartseg.data.scans import LoadScand
from heartseg.errors import InputError

SHAPE = (5, 4, 3)
VOXELS = np.arange(60, dtype=np.int16).reshape(SHAPE)
# Offsets and types of the fields of a NIfTI-1 header; https://nifti.nimh.nih.gov/nifti-1
FIELDS = {
    **{0: "<i", 40: "<h", 42: "<h", 44: "<h", 46: "<h", 48: "<h", 70: "<h", 72: "<h", 252: "<h", 254: "<h"},
    **dict.fromkeys((76, 80, 84, 88, 108, 112, 116, 256, 260, 264, 268, 280, 284, 288, 292, 296, 300, 312, 320), "<f"),
    **{123: "<b", 344: "<i"},
}
ODD = {
    "<b": st.integers(-128, 127),
    "<h": st.integers(-(2**15), 2**15 - 1) | st.sampled_from([0, 1, 3, -1, 4, 8, 16, 64, 128, 256, 512, 768, 1024]),
    "<i": st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 348, 540, 1543569408]),
    "<f": st.floats(width=32) | st.sampled_from([0.0, -1.0, 1.0, 352.0, 353.0, 1e9, -0.0, 3e38]),
}
FIELD = st.sampled_from(sorted(FIELDS)).flatmap(lambda at: st.tuples(st.just(at), ODD[FIELDS[at]]))
BYTE = st.tuples(st.integers(0, 351), st.integers(1, 255))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return the bytes of a small file, and the paths for its mutations, plain and compressed."""
    folder = tmp_path_factory.mktemp("fuzz")
    nib.save(nib.Nifti1Image(VOXELS, np.diag([1.5, 1.5, 8.0, 1.0])), folder / "sound.nii")
    return (folder / "sound.nii").read_bytes(), {False: folder / "scan.nii", True: folder / "scan.nii.gz"}


def load(path, content, packed):
    """Return the scan, with usable numbers, or None if it was refused in one line that names the file."""
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    try:
        image = LoadScand("image")({"image": str(path)})["image"]
    except InputError as error:
        assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1 and ";" in str(error)
        return None
    assert image.ndim == 4 and image.shape[0] == 1 and 1 <= image[0].numel() <= MAX_VOXELS
    assert image.isfinite().all() and image.min() < image.max() and image.abs().max() <= LARGEST_VOXEL * 1.001
    low, high = SPACING_LIMITS
    assert image.affine.isfinite().all() and low * 0.999 <= min(image.pixdim) and max(image.pixdim) <= high * 1.001
    return image


@few(250)
@given(st.lists(FIELD, min_size=1, max_size=3), st.booleans())
@example([(112, 3e38)], False)
@example([(42, 32767), (44, 32767), (46, 32767)], True)
@example([(108, 2e9)], True)
def test_random_fields(sound, changes, packed):
    content, paths = sound
    block = bytearray(content)
    for at, value in changes:
        struct.pack_into(FIELDS[at], block, at, value)
    load(paths[packed], bytes(block), packed)


@few(250)
@given(st.lists(BYTE, min_size=1, max_size=4), st.booleans())
def test_flipped_bytes(sound, changes, packed):
    content, paths = sound
    block = bytearray(content)
    for at, mask in changes:
        block[at] ^= mask
    load(paths[packed], bytes(block), packed)


@few(60)
@given(st.integers(0, 471), st.binary(max_size=8), st.booleans())
def test_files_cut_short_and_extended(sound, length, more, packed):
    content, paths = sound
    image = load(paths[packed], content[:length] + more, packed)
    if length + len(more) < len(content):
        assert image is None


@few(100)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_compressed_stream_with_a_flipped_byte(sound, at, mask):
    """The checksum detects it, unless it is in gzip's metadata, such as the time."""
    content, paths = sound
    block = bytearray(gzip.compress(content, 9, mtime=0))
    block[at % len(block)] ^= mask
    paths[True].write_bytes(bytes(block))
    try:
        image = LoadScand("image")({"image": str(paths[True])})["image"]
    except InputError as error:
        assert str(error).startswith(f"{paths[True]}: ")
    else:
        np.testing.assert_array_equal(image[0], VOXELS)


@pytest.mark.proof
@pytest.mark.parametrize("packed", [False, True])
def test_every_bit_of_the_header(sound, packed):
    content, paths = sound
    for at in range(352):
        for bit in range(8):
            block = bytearray(content)
            block[at] ^= 1 << bit
            load(paths[packed], bytes(block), packed)
