"""However a scan is stored, the same heart gives the same mask, but for voxels that rounding decides."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from orders import each_order, stored

from heartseg.data.anatomy import pose_matrix
from heartseg.data.scans import mask_image
from heartseg.inference.segmenter import Segmenter
from heartseg.networks.pose import axcodes_pose

WEIGHTS = Path(__file__).resolve().parents[2] / "bundles" / "left_atrium" / "models" / "model.pt"


def save(image, codes, path):
    """Write an image with its axes in this order and direction, and a header that says so."""
    turned = stored(image, codes)
    assert "".join(nib.aff2axcodes(turned.affine)) == codes
    nib.save(turned, path)
    return path


def canonical(mask):
    """Voxels of a mask with its axes running to right, anterior and superior."""
    return np.asarray(nib.as_closest_canonical(mask).dataobj)


def segmented(segmenter, path):
    """The mask of a file as it would be written."""
    return mask_image(segmenter(path).tensor, nib.load(path))


def same(one, other):
    """Equal masks, but for a voxel in 10,000: another layout, and a header's rounding, move a logit's last digits."""
    return one.shape == other.shape and np.mean(one != other) < 1e-4


@pytest.fixture(scope="module")
def small(learned):
    """The trained bundle with a coarse grid and small windows, eight of them a scan."""
    settings = {"spacing": [4, 4, 4], "roi_size": [32, 32, 32], "overlap": 0.25}
    return Segmenter("left_atrium", ["demo"], settings, learned / "model.pt")


@pytest.fixture(scope="module")
def expected(small, phantoms):
    """Mask, in canonical order, of a phantom as it was drawn."""
    path = phantoms / "imagesTs" / "la_007.nii.gz"
    mask = canonical(segmented(small, path))
    assert small.inferer.windows == 8
    assert 1000 < mask.sum() < mask.size / 2  # a mask of nothing or of everything has no direction
    assert not np.array_equal(mask, mask[::-1])
    return nib.as_closest_canonical(nib.load(path)), mask


@each_order
def test_a_phantom_in_any_order_gives_one_mask(codes, small, expected, tmp_path):
    image, mask = expected
    assert same(canonical(segmented(small, save(image, codes, tmp_path / "scan.nii.gz"))), mask)


def middle(image, length):
    """The middle ``length`` voxels of each axis, or all there are, where they lie in space."""
    start = [max(0, (n - length) // 2) for n in image.shape]
    return image.slicer[tuple(slice(s, s + length) for s in start)]


def test_a_real_scan_whose_header_lies_gives_the_mask_of_the_truth(real_data, tmp_path, caplog):
    """Task02 says RAS and means ASR: as it is, put right, and put right in two other orders."""
    if not WEIGHTS.is_file():
        pytest.skip(f"no shipped weights: {WEIGHTS.name} is not in the bundle's models/")
    scan, label = (real_data / "Task02_Heart" / part / "la_003.nii.gz" for part in ("imagesTr", "labelsTr"))
    if not scan.is_file():
        pytest.skip(f"no {scan.name} in the real scans")
    image, label = middle(nib.load(scan), 112), middle(nib.load(label), 112)
    nib.save(image, tmp_path / "lying.nii.gz")
    image = nib.load(tmp_path / "lying.nii.gz")  # with the rounding of a file
    anatomy = pose_matrix(axcodes_pose("ASR")).numpy()
    truth = nib.Nifti1Image(np.asarray(image.dataobj), anatomy @ image.affine)
    paths = [save(truth, codes, tmp_path / f"{codes}.nii.gz") for codes in ("ASR", "LPI", "SAR")]

    caplog.set_level(logging.WARNING, "heartseg")
    segmenter = Segmenter("left_atrium")
    lying = segmented(segmenter, tmp_path / "lying.nii.gz")
    assert np.array_equal(lying.affine, image.affine)  # on the file's own grid, however it was read
    (warning,) = caplog.messages
    assert warning.startswith("lying.nii.gz: the header contradicts the anatomy") and "A, S, R" in warning
    mask = np.asarray(lying.dataobj) == 1
    atrium = np.asarray(label.dataobj) == 1
    assert 2 * (mask & atrium).sum() / (mask.sum() + atrium.sum()) > 0.7

    caplog.clear()
    expected = canonical(nib.Nifti1Image(np.asarray(lying.dataobj), anatomy @ lying.affine))
    for path in paths:
        assert same(canonical(segmented(segmenter, path)), expected), path.name
    assert caplog.messages == []
