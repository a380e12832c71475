"""Masks are on their scans' grids, whatever those are, and are written atomically."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor
from scans import PLAIN, half, oriented, stored, voxels

import heartseg.data.scans as scan_module
from heartseg.data import LoadScand, SaveMaskd
from heartseg.data.scans import mask_image, mask_path
from heartseg.errors import InputError


def test_a_mask_file(tmp_path):
    path = stored(tmp_path / "in" / "la.001.nii")
    scan = LoadScand("image")({"image": path})["image"]
    data = {"image": scan, "pred": MetaTensor(half(), meta=scan.meta)}
    assert SaveMaskd("pred", tmp_path / "out")(data).keys() == data.keys()
    [written] = (tmp_path / "out").iterdir()
    assert written.name == "la.001.nii.gz"
    mask = nib.load(written)
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), half()[0].numpy())


AXES = [
    "".join(letters) for order in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*order)
]


@pytest.mark.parametrize(("codes", "tilt"), [("RAS", 0), ("LAS", 0), ("LPS", 0), *((codes, 20) for codes in AXES)])
def test_a_mask_has_the_geometry_of_its_scan(tmp_path, codes, tilt):
    """Axis orders, left-handed grids and oblique ones."""
    affine = oriented(codes, tilt)
    assert "".join(nib.aff2axcodes(affine)) == codes
    path = stored(tmp_path / "scan.nii.gz", affine, qform=1, sform=2)
    scan = LoadScand("image")({"image": path})["image"]
    SaveMaskd("pred", tmp_path / "out")({"image": scan, "pred": half()})
    mask, source = nib.load(tmp_path / "out" / "scan.nii.gz"), nib.load(path)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), half()[0].numpy())
    np.testing.assert_array_equal(mask.affine, source.affine)
    for mine, theirs in ((mask.get_qform(), source.get_qform()), (mask.get_sform(), source.get_sform())):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    np.testing.assert_allclose(mask.header.get_zooms(), source.header.get_zooms(), rtol=1e-6)
    assert (int(mask.header["qform_code"]), int(mask.header["sform_code"])) == (1, 2)


@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (1, 2), (4, 3), (0, 1), (2, 0), (0, 0)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_codes_and_units(tmp_path, qform, sform, kind):
    # Without a code the affine comes from the spacing alone, with its origin at the volume's centre.
    path = stored(tmp_path / "scan.nii", np.diag([-2.0, 3, 4, 1]), qform=qform, sform=sform, units="micron", kind=kind)
    source = nib.load(path)
    mask = mask_image(half(), source)
    assert int(mask.header["qform_code"]) == qform
    # Every mask has an sform, so that no viewer has to guess.
    assert int(mask.header["sform_code"]) == (sform or qform or 1)
    np.testing.assert_array_equal(mask.affine, source.affine)
    np.testing.assert_allclose(mask.get_sform(), source.affine, atol=1e-6)
    if qform:
        np.testing.assert_allclose(mask.get_qform(), source.get_qform(), atol=1e-6)
    assert mask.header.get_xyzt_units()[0] == "micron"


def test_qform_and_sform_that_differ_stay_apart(tmp_path):
    image = nib.Nifti1Image(voxels(), PLAIN)
    image.set_sform(PLAIN, 1)
    image.set_qform(oriented("RAS", tilt=30), 1)
    nib.save(image, tmp_path / "scan.nii")
    mask = mask_image(half(), nib.load(tmp_path / "scan.nii"))
    np.testing.assert_array_equal(mask.get_sform(), PLAIN)
    np.testing.assert_allclose(mask.get_qform(), oriented("RAS", tilt=30), atol=1e-5)


def test_a_qform_without_a_code_is_ignored(tmp_path):
    """Some converters leave numbers there that are not a rotation; the code 0 says to ignore them."""
    path = stored(tmp_path / "scan.nii", qform=0, sform=1)
    block = bytearray(path.read_bytes())
    block[256:268] = np.array([5, 5, 5], "<f4").tobytes()  # quatern_b, c, d: longer than 1
    path.write_bytes(block)
    scan = LoadScand("image")({"image": path})["image"]
    SaveMaskd("pred", tmp_path / "out")({"image": scan, "pred": half()})
    mask = nib.load(tmp_path / "out" / "scan.nii.gz")
    np.testing.assert_array_equal(mask.affine, PLAIN)
    assert int(mask.header["qform_code"]) == 0


def test_a_mask_of_an_image_of_another_format():
    like = nib.MGHImage(voxels(np.float32), oriented("LIA"))
    mask = mask_image(half(), like)
    assert isinstance(mask, nib.Nifti1Image)
    np.testing.assert_allclose(mask.affine, oriented("LIA"), atol=1e-5)


def test_a_mask_on_another_grid_is_refused(tmp_path):
    path = stored(tmp_path / "scan.nii")
    scan = LoadScand("image")({"image": path})["image"]
    with pytest.raises(InputError, match=r"scan.nii: its mask has the shape \(4, 6, 5\), not \(4, 5, 6\)"):
        SaveMaskd("pred", tmp_path / "out")({"image": scan, "pred": half().transpose(2, 3)})
    assert not any((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("old", [None, b"an older mask"])
def test_a_failed_save_leaves_no_partial_file(tmp_path, monkeypatch, old):
    path, out = stored(tmp_path / "scan.nii"), tmp_path / "out"
    out.mkdir()
    if old:
        (out / "scan.nii.gz").write_bytes(old)

    def full(image, target):
        assert target.parent == out and target.name.endswith(".nii.gz")
        target.write_bytes(b"half a m")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scan_module.nib, "save", full)
    scan = LoadScand("image")({"image": path})["image"]
    with pytest.raises(OSError, match="No space left"):
        SaveMaskd("pred", out)({"image": scan, "pred": half()})
    assert [(file.name, file.read_bytes()) for file in out.iterdir()] == ([("scan.nii.gz", old)] if old else [])


@pytest.mark.parametrize(
    ("scan", "mask"),
    [
        ("in/la_001.nii", "out/la_001.nii.gz"),
        ("in/la_001.nii.gz", "out/la_001.nii.gz"),
        ("v1.2.nii.gz", "out/v1.2.nii.gz"),
        ("LA.NII.GZ", "out/LA.nii.gz"),
        ("scan.mha", "out/scan.mha.nii.gz"),
    ],
)
def test_paths_of_masks(scan, mask):
    assert str(mask_path(scan, "out")) == mask
