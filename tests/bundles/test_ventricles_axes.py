"""Masks of the ventricles lie on the frame's own grid, and are the same however it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from orders import each_order, stored

from heartseg.config.bundles import find_bundle
from heartseg.inference.segmenter import Segmenter

BUNDLE = find_bundle("ventricles")
WEIGHTS = BUNDLE / "models" / "model.pt"
LEARNED = {"spacing": [4, 4], "input_size": [48, 48]}
CLASSES = {"right_ventricle": 1, "myocardium": 2, "left_ventricle": 3}


def segmented(segmenter: Segmenter, image: Any) -> Any:
    """The mask of an image, on its own grid."""
    mask = segmenter(image).tensor
    assert tuple(mask.shape) == (1, *image.shape) and np.allclose(mask.affine.numpy(), image.affine)
    assert set(mask.unique().tolist()) <= {0, 1, 2, 3}
    return nib.Nifti1Image(mask.numpy()[0].astype(np.uint8), image.affine)


def same(one: Any, other: Any) -> bool:
    """Equal masks, but for a voxel in 10,000: another layout of the same numbers moves a logit's last digits."""
    a, b = np.asarray(one.dataobj), np.asarray(other.dataobj)
    return a.shape == b.shape and bool(np.mean(a != b) < 1e-4)


def dice(one: Any, other: Any) -> dict[str, float]:
    """Of each class."""
    a, b = np.asarray(one.dataobj), np.asarray(other.dataobj)
    return {k: 2 * ((a == v) & (b == v)).sum() / ((a == v).sum() + (b == v).sum()) for k, v in CLASSES.items()}


@pytest.fixture(scope="module")
def small(learned_cines: Path) -> Segmenter:
    return Segmenter("ventricles", [], LEARNED, learned_cines / "model.pt")


@pytest.fixture(scope="module")
def frame(cines: Path) -> Any:
    return nib.load(cines / "phantom001" / "phantom001_frame01.nii.gz")


@pytest.fixture(scope="module")
def expected(small: Segmenter, frame: Any) -> Any:
    """The mask of a frame as it was drawn: of all classes, and with a direction along each axis."""
    mask = segmented(small, frame)
    found = np.asarray(mask.dataobj)
    assert min((found == value).sum() for value in CLASSES.values()) > 100
    assert not any(np.array_equal(found, np.flip(found, axis)) for axis in range(3))
    return mask


@each_order
def test_a_frame_in_any_order_gives_one_mask(codes: str, small: Segmenter, frame: Any, expected: Any) -> None:
    turned = stored(frame, codes)
    assert "".join(nib.aff2axcodes(turned.affine)) == codes
    mask = segmented(small, turned)
    assert same(mask, stored(expected, codes))


@pytest.mark.parametrize("codes", ["RAS", "SRA"])
def test_pixels_that_are_no_squares(codes: str, small: Segmenter, frame: Any, expected: Any) -> None:
    """Every other column: twice as wide voxels, but the same heart."""
    coarse, truth = (stored(image.slicer[::2], codes) for image in (frame, expected))
    wide, high, thick = frame.header.get_zooms()
    assert sorted(coarse.header.get_zooms()) == pytest.approx([high, 2 * wide, thick], rel=1e-3)
    found = dice(segmented(small, coarse), truth)  # a minute's learning knows the left ventricle, hardly the right
    assert found["left_ventricle"] > 0.8 and found["myocardium"] > 0.7


@pytest.mark.parametrize("shape", [(61, 75, 1), (78, 55, 2), (31, 75, 6), (78, 20, 3)])
def test_odd_shapes_and_few_slices(shape: tuple[int, int, int], small: Segmenter, frame: Any) -> None:
    start = [(n - m) // 2 for n, m in zip(frame.shape, shape, strict=True)]
    part = frame.slicer[tuple(slice(s, s + m) for s, m in zip(start, shape, strict=True))]
    assert part.shape == shape
    assert np.asarray(segmented(small, part).dataobj).any()


def test_the_axis_through_the_slices_may_be_named(small: Segmenter, frame: Any, learned_cines: Path) -> None:
    """Slices no further apart than voxels are wide: only the person knows which axis runs through them."""
    image = nib.Nifti1Image(np.asarray(frame.dataobj), np.diag([4.0, 4.0, 4.0, 1.0]))
    turned = nib.Nifti1Image(np.asarray(frame.dataobj).transpose(2, 0, 1), np.diag([4.0, 4.0, 4.0, 1.0]))
    last = segmented(small, image)
    first = segmented(Segmenter("ventricles", [], {**LEARNED, "slice_axis": 0}, learned_cines / "model.pt"), turned)
    assert same(first, nib.Nifti1Image(np.asarray(last.dataobj).transpose(2, 0, 1), first.affine))


def test_a_real_frame_is_found_in_any_order(real_data: Path) -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"no shipped weights: {WEIGHTS.name} is not in the bundle's models/")
    scan, label = (real_data / "ACDC" / part / "patient003_frame01.nii.gz" for part in ("imagesTr", "labelsTr"))
    if not scan.is_file():
        pytest.skip(f"no {scan.name} in the real scans")
    segmenter, image = Segmenter("ventricles"), nib.load(scan)
    mask = segmented(segmenter, image)
    assert min(dice(mask, nib.load(label)).values()) > 0.8
    for codes in ("LPS", "SAR"):
        other = segmented(segmenter, stored(image, codes))
        assert same(other, stored(mask, codes))
