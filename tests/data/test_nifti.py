import gzip
import logging

import nibabel as nib
import numpy as np
import pytest

from heartseg.data.nifti import check_grid, check_same_grid, check_voxels, count_labels, read_nifti
from heartseg.errors import InputError

AFFINE = np.diag([1.5, 1.25, 2.0, 1.0])


def volume(shape=(4, 5, 6), dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.fixture
def scan(tmp_path):
    """Write a sound file, for tests to damage."""
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(volume(), AFFINE), path)
    return path


def patch(path, offset, content):
    """Overwrite bytes of a header; nibabel would not write a wrong one."""
    block = bytearray(path.read_bytes())
    block[offset : offset + len(content)] = content
    path.write_bytes(block)
    return path


def packed(path, keep=None, more=b""):
    name = path.with_name("scan.nii.gz")
    name.write_bytes(gzip.compress(path.read_bytes())[:keep] + more)
    return name


def fault(path):
    with pytest.raises(InputError) as caught:
        read_nifti(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_reads_what_nibabel_reads(tmp_path, kind, name):
    nib.save(kind(volume(), AFFINE), tmp_path / name)
    image, voxels = read_nifti(tmp_path / name)
    assert isinstance(image, kind)
    np.testing.assert_array_equal(voxels, volume())
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert read_nifti(tmp_path / name, data=False)[1] is None


def test_scaling_and_byte_order(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Image(volume(), AFFINE, header)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "scan.nii.gz")
    loaded, voxels = read_nifti(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(voxels, np.asanyarray(loaded.dataobj))
    np.testing.assert_allclose(voxels, volume() * 0.5 - 3)


def test_missing_file_folder_and_wrong_suffix(tmp_path):
    assert "there is no such file; check the path" in fault(tmp_path / "gone.nii.gz")
    (tmp_path / "dicom").mkdir()
    assert "is a folder, not a NIfTI file; convert it to NIfTI" in fault(tmp_path / "dicom")
    (tmp_path / "scan.mha").touch()
    assert "is not named .nii or .nii.gz" in fault(tmp_path / "scan.mha")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_empty_and_text_files(tmp_path, name):
    path = tmp_path / name
    path.touch()
    assert "is empty; copy" in fault(path)
    path.write_text("this is no image\n" * 40)
    assert "NIfTI" in fault(path)
    path.write_bytes(b"x")
    assert "NIfTI" in fault(path)


def test_wrong_suffix(scan):
    scan.with_name("a.nii.gz").write_bytes(scan.read_bytes())
    assert "is not compressed; rename it to .nii" in fault(scan.with_name("a.nii.gz"))
    scan.with_name("b.nii").write_bytes(gzip.compress(scan.read_bytes()))
    assert "is gzip-compressed; rename it to .nii.gz" in fault(scan.with_name("b.nii"))


def test_header_of_a_pair_of_files(scan):
    assert "is not a single-file NIfTI" in fault(patch(scan, 344, b"ni1\0"))


@pytest.mark.parametrize("keep", [20, 60, -30, -9, -1])
def test_gzip_cut_short(scan, keep):
    assert "cannot be read" in fault(packed(scan, keep))


def test_gzip_with_a_flipped_bit(scan):
    path = packed(scan)
    block = bytearray(path.read_bytes())
    block[-6] ^= 1  # the checksum at the end of the stream, which nibabel does not check
    path.write_bytes(block)
    assert "CRC" in fault(path)


def test_voxels_cut_short(scan):
    scan.write_bytes(scan.read_bytes()[:-1])
    assert "4 x 5 x 6 voxels need 592 bytes, the file has 591" in fault(scan)
    assert "cannot be read" in fault(packed(scan))


@pytest.mark.parametrize("compress", [False, True])
def test_absurd_size_is_refused_before_it_is_allocated(scan, compress):
    patch(scan, 40, np.array([3, 30000, 30000, 30000], "<i2").tobytes())
    path = packed(scan) if compress else scan
    assert "30000 x 30000 x 30000 voxels need 54000000000352 bytes" in fault(path)


def test_too_many_voxels(scan, monkeypatch):
    monkeypatch.setattr("heartseg.data.nifti.MAX_VOXELS", 119)
    assert "4 x 5 x 6 voxels are too many" in fault(scan)


@pytest.mark.parametrize(
    ("offset", "content", "line"),
    [
        (80, np.float32([0]), "the voxel spacing is 0 x 1.25 x 2 mm"),
        (84, np.float32([np.nan]), "the voxel spacing is 1.5 x nan x 2 mm"),
        (88, np.float32([np.inf]), "the voxel spacing is 1.5 x 1.25 x inf mm"),
        (280, np.float32([np.nan]), "the affine holds NaN or infinity"),
        (280, np.float32([0]), "the affine is singular"),
        (296, np.float32([1.5, 0]), "the affine is singular"),
        (40, np.int16([9]), "axes; copy or export it again"),
        (40, np.int16([-1]), "the header claims -1 axes"),
        (42, np.int16([0]), "has an axis without voxels (0 x 5 x 6)"),
        (44, np.int16([-5]), "has an axis without voxels (4 x -5 x 6)"),
        (70, np.int16([12345]), "12345 is not a voxel type"),
        (70, np.int16([32]), "colour or complex"),
        (70, np.int16([128]), "colour or complex"),
        (108, np.float32([0]), "puts the voxels at byte 0"),
        (108, np.float32([np.nan]), "puts the voxels at byte nan"),
        (108, np.float32([1e30]), "puts the voxels at byte 1e+30"),
    ],
)
def test_damaged_header(scan, offset, content, line):
    patch(scan, offset, content.tobytes())
    assert line in fault(scan)


def test_damaged_quaternion(scan):
    patch(scan, 252, np.int16([1, 0]).tobytes())  # the qform is used
    patch(scan, 256, np.float32([2, 2, 2]).tobytes())
    assert "cannot be read" in fault(scan)


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ((4, 5, 6, 1), "has a fourth axis of length 1; drop it (nibabel.funcs.squeeze_image)"),
        ((4, 5, 6, 2), "is 4D (4 x 5 x 6 x 2), not 3D; split it, one file per frame"),
        ((4, 5), "is 2D (4 x 5), not 3D; stack the slices"),
    ],
)
def test_not_3d(tmp_path, shape, line):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    (tmp_path / "scan.nii").write_bytes(header.binaryblock[:344] + b"n+1\0" + bytes(400))
    assert line in fault(patch(tmp_path / "scan.nii", 108, np.float32([352]).tobytes()))


def test_random_damage_raises_nothing_else(scan):
    rng = np.random.default_rng(0)
    sound = scan.read_bytes()
    for _ in range(300):
        block = bytearray(sound)
        for place in rng.integers(0, 352, 4):
            block[place] = rng.integers(0, 256)
        scan.write_bytes(block)
        try:
            read_nifti(scan)
        except InputError as error:
            assert "\n" not in str(error)


def test_nibabel_stays_quiet_and_keeps_its_level(scan, capfd):
    logger = logging.getLogger("nibabel.global")
    level = logger.level
    read_nifti(patch(scan, 254, np.int16([77]).tobytes()))  # an sform code that nibabel sets to 0
    assert capfd.readouterr().err == ""
    assert logger.level == level


def test_check_grid_in_memory():
    check_grid((4, 5, 6), AFFINE, "a")
    with pytest.raises(InputError, match="a: the affine is singular"):
        check_grid((4, 5, 6), np.zeros((4, 4)), "a")
    with pytest.raises(InputError, match="a: the affine holds NaN"):
        check_grid((4, 5, 6), np.full((4, 4), np.nan), "a")


@pytest.mark.parametrize(
    ("value", "line"),
    [(np.nan, "2 voxels are NaN or infinite"), (-np.inf, "2 voxels are NaN or infinite"), (None, "every voxel is 7")],
)
def test_check_voxels(value, line):
    voxels = np.full((3, 3, 3), 7, np.float32)
    if value is not None:
        voxels[0, 0, :2] = value
    with pytest.raises(InputError, match=line):
        check_voxels(voxels, "a")
    check_voxels(volume(), "a")


def test_same_grid_to_a_thousandth_of_a_millimetre():
    image = nib.Nifti1Image(volume(), AFFINE)
    near, far = AFFINE.copy(), AFFINE.copy()
    near[0, 3], far[0, 3] = 0.0009, 0.0011
    check_same_grid(image, nib.Nifti1Image(volume(), near), "b")
    with pytest.raises(InputError, match="b: is up to 0.0011 mm away from its image"):
        check_same_grid(image, nib.Nifti1Image(volume(), far), "b")
    # 1 mm more per voxel on the last axis: 5 mm at its far end
    wide = np.diag([1.5, 1.25, 3.0, 1.0])
    with pytest.raises(InputError, match="is up to 5 mm away"):
        check_same_grid(image, nib.Nifti1Image(volume(), wide), "b")
    with pytest.raises(InputError, match="has 4 x 5 x 7 voxels, its image 4 x 5 x 6"):
        check_same_grid(image, nib.Nifti1Image(volume((4, 5, 7)), AFFINE), "b")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, ">u2"])
def test_count_labels(dtype):
    voxels = np.zeros((3, 3, 3), dtype)
    voxels[0] = 1
    voxels[1, 0, 0] = 3
    assert count_labels(voxels, [1, 3], "b") == {1: 9, 3: 1}
    assert count_labels(voxels, None, "b") == {1: 9, 3: 1}
    assert count_labels(voxels, {0: "background", 1: "RV", 2: "MYO", 3: "LV"}, "b") == {1: 9, 3: 1}
    assert count_labels(np.asfortranarray(voxels), None, "b") == {1: 9, 3: 1}


@pytest.mark.parametrize(
    ("value", "labels", "line"),
    [
        (255, [1], "b: holds the label 255; allowed: 0, 1; map or declare it"),
        (255, None, None),
        (100000, [1], "holds the label 100000; allowed: 0, 1"),
        (100000, None, None),
        (-1, None, "holds the label -1; allowed: whole numbers from 0 up"),
        (0.5, None, "holds 0.5, not a whole number; resample with nearest neighbour"),
        (np.nan, None, "1 voxel is NaN or infinite; set it to a number"),
        (0, [1], "is empty, every voxel is background"),
    ],
)
def test_faulty_labels(value, labels, line):
    voxels = np.zeros((3, 3, 3))
    voxels[1, 1, 1] = value
    if line is None:
        assert count_labels(voxels, labels, "b") == {value: 1}
    else:
        with pytest.raises(InputError, match=line):
            count_labels(voxels, labels, "b")
