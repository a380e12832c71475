"""Made-up headers, and similar ones."""

import nibabel as nib
import numpy as np
import pytest
import torch

from heartseg.data.nominal_spacing import is_nominal
from heartseg.errors import InputError

SIZE = (1.5625, 1.5625, 10.0)
MADE_UP = np.diag([*SIZE, 1])


def changed(row, column, value):
    affine = MADE_UP.copy()
    affine[row, column] = value
    return affine


def test_exactly_these_spacings_from_the_origin():
    assert is_nominal(MADE_UP, SIZE)
    assert is_nominal(torch.from_numpy(MADE_UP), list(SIZE))
    assert is_nominal(changed(0, 0, 1.5625 + 1e-4), SIZE)  # within single-precision rounding


@pytest.mark.parametrize(
    "affine",
    [
        changed(0, 0, 1.56),  # another size
        changed(2, 2, 8.0),
        changed(0, 3, 12.0),  # a position
        changed(0, 0, -1.5625),  # a direction
        changed(0, 1, 0.1),  # oblique
        np.diag([10.0, 1.5625, 1.5625, 1]),  # another order
    ],
)
def test_any_other_header_is_trusted(affine):
    assert not is_nominal(affine, SIZE)


def test_null_trusts_every_header():
    assert not is_nominal(MADE_UP, None)


def test_the_original_archive_is_trusted(tmp_path):
    """It has an Info.cfg in the file's folder; an image in memory has none."""
    path = tmp_path / "patient001_frame01.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), MADE_UP), path)
    assert is_nominal(MADE_UP, SIZE, path) and is_nominal(MADE_UP, SIZE, "the image")
    (tmp_path / "Info.cfg").write_text("ED: 1\nES: 12\n")
    assert not is_nominal(MADE_UP, SIZE, path)
    assert not is_nominal(MADE_UP, SIZE, str(path))
    assert is_nominal(MADE_UP, SIZE, tmp_path / "gone.nii.gz")


@pytest.mark.parametrize("nominal", [[1.5, 10], [1.5, 1.5, 0], [1.5, 1.5, float("inf")], "1.5", 10, [1, 1, "a"], []])
def test_invalid_sizes(nominal):
    with pytest.raises(InputError, match=r"^nominal_spacing: .* is not three positive numbers; give mm per axis, or"):
        is_nominal(MADE_UP, nominal)


def test_public_copies_of_acdc(real_data):
    scans = sorted((real_data / "ACDC" / "imagesTr").glob("*.nii.gz"))
    if not scans:
        pytest.skip("no ACDC among the real scans")
    assert all(is_nominal(nib.load(scan).affine, SIZE, scan) for scan in scans)
