"""Odd but sound scans: their masks are those of the plain scan, voxel by voxel."""

import nibabel as nib
import numpy as np
import pytest
from corpus import dataset, image, label, save
from every_bundle import NAMES, each_name, small

from heartseg import segment
from heartseg.data.dataset_checks import check_dataset

AFFINE = np.diag([3.0, 3.0, 8.0, 1.0])  # a stack of slices, for bundles that look for one


@pytest.fixture(scope="module")
def mask(seeded):
    """The voxels of the mask of a file, by a network that learned nothing, but not nothing."""

    def call(bundle, path):
        found = segment(path, bundle, settings=small(bundle), weights=seeded[bundle])
        scan = nib.load(path)
        np.testing.assert_array_equal(found.affine, scan.affine)
        assert found.shape == scan.shape
        return np.asarray(found.dataobj)

    return call


@pytest.fixture(scope="module")
def plain(mask, tmp_path_factory):
    path = save(tmp_path_factory.mktemp("plain") / "scan.nii.gz", image(), AFFINE)
    masks = {bundle: mask(bundle, path) for bundle in NAMES}
    assert all(0 < np.count_nonzero(found) < found.size for found in masks.values())
    return masks


@each_name
def test_left_handed_axes(bundle, mask, plain, tmp_path):
    """The first axis runs the other way in the file and in its affine: the same places in mm."""
    affine = AFFINE @ np.array([[-1, 0, 0, 23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert np.linalg.det(affine) < 0
    found = mask(bundle, save(tmp_path / "scan.nii.gz", image()[::-1], affine))
    np.testing.assert_array_equal(found[::-1], plain[bundle])


@each_name
@pytest.mark.parametrize("name", ["a scan of mine.nii.gz", "Größe_心臓_é.nii.gz", "a[1]{2};&'x'.nii.gz", "-x.nii"])
def test_odd_names(bundle, name, mask, plain, tmp_path):
    path = save(tmp_path / "ein Ordner – ß" / name, image(), AFFINE)
    np.testing.assert_array_equal(mask(bundle, path), plain[bundle])
    assert check_dataset(path.parent).all_errors == []


@each_name
def test_other_forms_of_the_same_numbers(bundle, mask, plain, tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    nib.save(nib.Nifti1Image(image().astype(">f4"), AFFINE, header), tmp_path / "big.nii.gz")
    nib.save(nib.Nifti2Image(image().astype(np.int64), AFFINE, dtype=np.int64), tmp_path / "second.nii")
    scaled = nib.Nifti1Image(image(), AFFINE)
    scaled.header.set_slope_inter(0.5, 0)
    scaled = nib.Nifti1Image(image().astype(np.float64), AFFINE, scaled.header)
    nib.save(scaled, tmp_path / "scaled.nii.gz")
    for name in ("big.nii.gz", "second.nii", "scaled.nii.gz"):
        np.testing.assert_array_equal(mask(bundle, tmp_path / name), plain[bundle])


def test_one_slice(mask, plain, tmp_path):
    """A stack of one slice is what the middle slice of three of the same is."""
    one = image()[:, :, 8:9]
    found = mask("ventricles", save(tmp_path / "one.nii.gz", one, AFFINE))
    three = mask("ventricles", save(tmp_path / "three.nii.gz", np.repeat(one, 3, axis=2), AFFINE))
    assert found.shape == (24, 20, 1)
    # Batches of one and of three slices may round otherwise: of 480 voxels, 4 may change sides.
    assert np.mean(found[..., 0] != three[..., 1]) < 0.01


def test_labels_that_are_whole_numbers_in_another_type(heartseg, tmp_path):
    dataset(tmp_path, 3)
    save(tmp_path / "labelsTr" / "case_0.nii.gz", label().astype(np.float64))
    save(tmp_path / "labelsTr" / "case_1.nii.gz", label().astype(np.int32))
    report = check_dataset(tmp_path, labels=[1])
    assert report.all_errors == []
    assert [case.voxels for case in report.cases] == [{1: int(label().sum())}] * 3
