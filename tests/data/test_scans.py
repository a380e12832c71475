"""Scans are loaded and listed, or refused in one line."""

import logging
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientationd, Spacingd
from scans import PLAIN, SHAPE, half, oriented, stored, voxels

from heartseg.data import LoadScand, list_scans
from heartseg.errors import InputError

# ------------------------------------------------------------------ loading


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_loading_a_scan(tmp_path, name):
    path = stored(tmp_path / name)
    data = LoadScand("image")({"image": path, "id": "scan"})
    image = data["image"]
    assert data["id"] == "scan"
    assert image.shape == (1, *SHAPE) and image.dtype == torch.float32
    np.testing.assert_array_equal(image[0].numpy(), voxels())
    np.testing.assert_array_equal(image.affine.numpy(), PLAIN)
    assert image.meta["filename_or_obj"] == str(path)
    np.testing.assert_array_equal(image.meta["original_affine"].numpy(), PLAIN)


@pytest.mark.parametrize("dtype", ["i2", "u1", "f8", ">i2", ">f4", "u2", "i4"])
def test_voxel_types_and_byte_orders(tmp_path, dtype):
    header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    image = nib.Nifti1Image(voxels(dtype), PLAIN, header)
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "scan.nii")
    start = (tmp_path / "scan.nii").read_bytes()[:4]
    assert start == (348).to_bytes(4, "big" if dtype.startswith(">") else "little")
    loaded = LoadScand("image")({"image": str(tmp_path / "scan.nii")})["image"]
    assert loaded.dtype == torch.float32
    np.testing.assert_array_equal(loaded[0].numpy(), voxels(np.float32))


def test_scaled_voxels(tmp_path):
    image = nib.Nifti1Image(voxels(), PLAIN)
    image.header.set_slope_inter(0.25, -3)
    nib.save(image, tmp_path / "scan.nii")
    loaded = LoadScand("image")({"image": tmp_path / "scan.nii"})["image"]
    np.testing.assert_array_equal(loaded[0].numpy(), voxels() / 4 - 3)


def test_a_nibabel_image(tmp_path):
    source = nib.Nifti1Image(voxels(">f4"), oriented("PSL"))
    image = LoadScand("image")({"image": source})["image"]
    np.testing.assert_array_equal(image[0].numpy(), voxels())
    np.testing.assert_array_equal(image.affine.numpy(), source.affine)
    assert image.meta["filename_or_obj"] == "the image"
    from_disk = nib.load(stored(tmp_path / "scan.nii.gz"))
    assert LoadScand("image")({"image": from_disk})["image"].meta["filename_or_obj"] == str(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("lead", [(), (1,)], ids=["x y z", "1 x y z"])
def test_a_metatensor(lead):
    affine = torch.from_numpy(oriented("PSL"))
    source = MetaTensor(torch.from_numpy(voxels(np.int32)).reshape(*lead, *SHAPE), affine=affine)
    image = LoadScand("image")({"image": source})["image"]
    assert image.shape == (1, *SHAPE) and image.dtype == torch.float32
    np.testing.assert_array_equal(image[0].numpy(), voxels())
    assert torch.equal(image.affine, affine)
    image[:] = 0  # the caller's tensor is not changed
    np.testing.assert_array_equal(source.as_tensor().reshape(SHAPE).numpy(), voxels())


def test_a_named_float_metatensor_is_not_written_into():
    source = MetaTensor(torch.from_numpy(voxels(np.float32)), meta={"filename_or_obj": "la_001.nii"})
    image = LoadScand("image")({"image": source})["image"]
    assert image.meta["filename_or_obj"] == "la_001.nii"
    image[:] = 0
    np.testing.assert_array_equal(source.as_tensor().numpy(), voxels())


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (5, "int: is not a scan; give a path, a nibabel image or a MetaTensor"),
        (np.zeros(SHAPE), "ndarray: is not a scan; give a path, a nibabel image or a MetaTensor"),
        (MetaTensor(torch.rand(2, *SHAPE)), "the image: is 4D (2 x 4 x 5 x 6), not 3D; split it, one file per frame"),
        (nib.Nifti1Image(np.zeros(SHAPE), PLAIN), "the image: every voxel is 0.0; the image shows nothing, export"),
        (MetaTensor(torch.full(SHAPE, float("nan"))), "the image: 120 voxels are NaN or infinite; set them to a numb"),
        ("gone.nii", "gone.nii: there is no such file; check the path"),
    ],
)
def test_not_a_scan(source, fault):
    with pytest.raises(InputError) as caught:
        LoadScand("image")({"image": source})
    assert str(caught.value).startswith(fault)


def test_a_label_with_its_image(tmp_path):
    image = stored(tmp_path / "image.nii")
    label = stored(tmp_path / "label.nii", data=(voxels() > 70).astype(np.uint8))
    data = LoadScand(["image", "label"], labels=[1])({"image": image, "label": label})
    assert torch.equal(data["label"].as_tensor(), half())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"affine": oriented("LAS")}, "label.nii: is up to "),
        ({"affine": PLAIN + np.eye(4)[:, [3, 0, 1, 2]] * 0.01}, "label.nii: is up to "),
        ({"data": np.ones((4, 5, 5), np.uint8)}, "label.nii: has 4 x 5 x 5 voxels, its image 4 x 5 x 6; resample"),
        ({"data": voxels().astype(np.uint8) % 3}, "label.nii: holds the label 2; allowed: 0, 1; map or declare it"),
        ({"data": np.zeros(SHAPE, np.uint8)}, "label.nii: is empty, every voxel is background; draw the label"),
        ({"data": voxels().astype(np.float32) / 2}, "label.nii: holds 0.5, not a whole number; resample with nearest"),
    ],
    ids=["turned", "tilted", "cut", "undeclared", "empty", "fractional"],
)
def test_a_label_that_does_not_match(tmp_path, change, fault):
    image = stored(tmp_path / "image.nii")
    label = stored(tmp_path / "label.nii", **{"data": (voxels() > 70).astype(np.uint8), **change})
    with pytest.raises(InputError) as caught:
        LoadScand(["image", "label"], labels=[1])({"image": image, "label": label})
    assert str(caught.value).startswith(f"{tmp_path}/{fault}")


def test_any_label_value_if_none_are_declared(tmp_path):
    image = stored(tmp_path / "image.nii")
    label = stored(tmp_path / "label.nii", data=voxels().astype(np.uint8))
    data = LoadScand(["image", "label"])({"image": image, "label": label})
    np.testing.assert_array_equal(data["label"][0].numpy(), voxels())


def test_the_truth_matches_an_image_resampled_earlier(tmp_path):
    """As in an evaluation: the label is loaded on the file's own grid after the image was resampled."""
    affine = oriented("PSL", tilt=10)
    image = stored(tmp_path / "image.nii", affine)
    truth = (voxels() > 70).astype(np.uint8)
    data = LoadScand("image")({"image": image, "label": stored(tmp_path / "label.nii", affine, truth)})
    data = Orientationd("image", axcodes="RAS", labels=None)(data)
    data = Spacingd("image", pixdim=(1.0, 1.1, 1.2))(data)
    assert data["image"].shape != (1, *SHAPE)
    assert torch.equal(LoadScand("label")(data)["label"].as_tensor(), half())
    data["label"] = stored(tmp_path / "other.nii", oriented("RAS"), truth)
    with pytest.raises(InputError, match="other.nii: is up to"):
        LoadScand("label")(data)


# ------------------------------------------------------------------ listing


@pytest.fixture
def folder(tmp_path):
    for name in ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b.nii.gz", "loose/c.nii", "loose/d.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loose" / "notes.txt").touch()
    return tmp_path


def names(scans, folder):
    assert all(scan.keys() == {"image"} for scan in scans)
    return [scan["image"].removeprefix(f"{folder}/") for scan in scans]


def test_files_in_the_order_given(folder):
    files = [folder / "loose/d.nii.gz", str(folder / "loose/c.nii")]
    assert names(list_scans(files), folder) == ["loose/d.nii.gz", "loose/c.nii"]
    assert names(list_scans(files[0]), folder) == ["loose/d.nii.gz"]


def test_folders(folder):
    assert names(list_scans(folder / "loose"), folder) == ["loose/c.nii", "loose/d.nii.gz"]
    assert names(list_scans(folder), folder) == ["imagesTs/b.nii.gz"]  # the test images, if there are any
    mixed = [str(folder / "loose"), folder / "imagesTr" / "a.nii.gz", folder]
    assert names(list_scans(mixed), folder) == [
        "loose/c.nii",
        "loose/d.nii.gz",
        "imagesTr/a.nii.gz",
        "imagesTs/b.nii.gz",
    ]


def test_test_patients(tmp_path):
    """ACDC's own layout: those in testing/ if there are any, else all; with or without database/."""
    for patient in ("training/patient001", "testing/patient101", "testing/patient102"):
        place = tmp_path / "database" / patient
        place.mkdir(parents=True)
        for end in ("_frame01", "_frame01_gt", "_4d"):
            (place / f"{place.name}{end}.nii.gz").touch()
    expected = [f"testing/patient{n}/patient{n}_frame01.nii.gz" for n in (101, 102)]
    assert names(list_scans(tmp_path), tmp_path / "database") == expected
    assert names(list_scans(tmp_path / "database"), tmp_path / "database") == expected
    shutil.rmtree(tmp_path / "database" / "testing")
    assert names(list_scans(tmp_path), tmp_path / "database") == ["training/patient001/patient001_frame01.nii.gz"]


def test_training_images_without_test_images(folder):
    (folder / "imagesTs" / "b.nii.gz").unlink()
    (folder / "imagesTs").rmdir()
    assert names(list_scans(folder), folder) == ["imagesTr/a.nii.gz"]


def test_a_file_given_twice_is_one_scan(folder):
    assert names(list_scans([folder / "loose/c.nii", folder / "loose"]), folder) == ["loose/c.nii", "loose/d.nii.gz"]


def test_two_scans_whose_masks_would_have_the_same_name(folder):
    (folder / "imagesTr" / "c.nii.gz").touch()
    with pytest.raises(InputError) as caught:
        list_scans([folder / "loose", folder / "imagesTr/c.nii.gz"])
    assert str(caught.value) == (
        f"{folder}/imagesTr/c.nii.gz: its mask would replace that of {folder}/loose/c.nii; "
        "segment them into two folders"
    )


@pytest.mark.parametrize("name", ["gone.nii.gz", "gone"])
def test_a_missing_input_is_refused_before_anything_runs(folder, name):
    with pytest.raises(InputError, match=f"{folder}/{name}: there is no such file"):
        list_scans([folder / "loose", folder / name])


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="holds no .nii or .nii.gz file; give"):
        list_scans(tmp_path)


def test_scans_that_have_a_mask_are_skipped_and_counted(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="heartseg")
    out = tmp_path / "masks"
    assert names(list_scans(folder / "loose", skip_done=out), folder) == ["loose/c.nii", "loose/d.nii.gz"]
    assert not caplog.records
    out.mkdir()
    (out / "c.nii.gz").touch()
    assert names(list_scans(folder / "loose", skip_done=str(out)), folder) == ["loose/d.nii.gz"]
    (out / "d.nii.gz").touch()
    assert list_scans(folder / "loose", skip_done=out) == []
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 2 scans have a mask already and are skipped",
        "2 of 2 scans have a mask already and are skipped",
    ]
    assert len(list_scans(folder / "loose")) == 2  # without skip_done nothing is left out


def test_a_truth_is_not_a_scan(tmp_path):
    path = tmp_path / "patient001_frame01_gt.nii.gz"
    path.touch()
    with pytest.raises(InputError, match="patient001_frame01_gt.nii.gz: is a label map by its name, not a scan"):
        list_scans([path])
