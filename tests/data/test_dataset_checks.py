import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartseg.data.dataset_checks import check_dataset
from heartseg.data.layout import LAYOUT
from heartseg.errors import InputError

AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])  # 10 mm^3 per voxel: 100 voxels are 1 mL


def save(path, voxels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def image_of(seed):
    return np.random.default_rng(seed).integers(0, 1000, (10, 10, 4)).astype(np.int16)


def label_of(*planes):
    """Return a label map whose plane i is filled with planes[i], 100 voxels each."""
    label = np.zeros((10, 10, 4), np.uint8)
    for place, value in enumerate(planes):
        label[:, :, place] = value
    return label


@pytest.fixture
def dataset(tmp_path):
    for seed, planes in enumerate([(1,), (1, 1), (1, 2)]):
        save(tmp_path / f"imagesTr/p{seed}_frame01.nii.gz", image_of(seed))
        save(tmp_path / f"labelsTr/p{seed}_frame01.nii.gz", label_of(*planes))
    return tmp_path


def test_report_of_a_sound_dataset(dataset):
    report = check_dataset(dataset)
    assert report.all_errors == []
    assert report.all_warnings == []
    assert report.volumes() == {1: pytest.approx([1.0, 2.0, 1.0]), 2: pytest.approx([1.0])}
    assert report.cases[1].voxels == {1: 200}
    assert report.cases[0].shape == (10, 10, 4)
    assert report.cases[0].spacing == pytest.approx((1, 2, 5))
    assert report.lines() == [
        "cases: 3 (3 labelled) of 3 patients",
        "shape: 10 x 10 x 4 voxels",
        "spacing: 1 x 2 x 5 mm",
        "axes: RAS (3)",
        "label 1: mean 1.3 mL, 1.0 to 2.0 mL, in 3 cases",
        "label 2: mean 1.0 mL, 1.0 to 1.0 mL, in 1 case",
        "note: no labels are declared (dataset.json), so any whole number is accepted as a label",
    ]


def test_labels_are_checked_against_the_declared_ones(dataset):
    (dataset / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "left atrium"}}))
    report = check_dataset(dataset)
    wrong = f"{dataset}/labelsTr/p2_frame01.nii.gz: holds the label 2; allowed: 0, 1; map or declare it"
    assert report.all_errors == [wrong]
    assert "label 1 (left atrium): mean 1.5 mL, 1.0 to 2.0 mL, in 2 cases" in report.lines()
    report = check_dataset(dataset, labels=[1, 2])  # the argument takes precedence
    assert report.all_errors == []
    assert report.cases[0].warnings == [f"{dataset}/labelsTr/p0_frame01.nii.gz: has no voxels of label 2"]


def test_a_bad_case_does_not_stop_the_check(dataset):
    (dataset / "imagesTr/p0_frame01.nii.gz").write_text("not an image")
    save(dataset / "labelsTr/p0_frame01.nii.gz", label_of())
    shifted = AFFINE.copy()
    shifted[0, 3] = 4
    save(dataset / "labelsTr/p1_frame01.nii.gz", label_of(1), shifted)
    report = check_dataset(dataset)
    assert [len(case.errors) for case in report.cases] == [2, 1, 0]
    first, second, third = report.all_errors
    assert "imagesTr/p0_frame01.nii.gz: is neither gzip nor NIfTI" in first
    assert "labelsTr/p0_frame01.nii.gz: is empty" in second
    assert "labelsTr/p1_frame01.nii.gz: is up to 4 mm away" in third
    assert report.lines()[:2] == ["cases: 3 (3 labelled) of 3 patients", "shape: 10 x 10 x 4 voxels"]


def test_faults_in_the_lists_of_files(dataset):
    save(dataset / "imagesTr/p0_frame01.nii", image_of(8))
    save(dataset / "imagesTr/p7.nii.gz", image_of(7))
    save(dataset / "labelsTr/p9.nii.gz", label_of(1))
    report = check_dataset(dataset)
    assert report.errors == [
        f"{dataset}/imagesTr/p0_frame01.nii.gz: has the same id as p0_frame01.nii",
        f"{dataset}/imagesTr/p7.nii.gz: has no label, but other images do",
        f"{dataset}/labelsTr/p9.nii.gz: has no matching image",
    ]


def test_a_missing_listed_file_is_one_error(dataset):
    pair = {"image": "./imagesTr/p0_frame01.nii.gz", "label": "./labelsTr/gone.nii.gz"}
    (dataset / "dataset.json").write_text(json.dumps({"training": [pair]}))
    assert check_dataset(dataset).all_errors == [
        f"{dataset}/labelsTr/gone.nii.gz: there is no such file; check the path"
    ]


def test_warnings_about_leakage_between_cases(dataset):
    save(dataset / "imagesTs/p1_frame02.nii.gz", image_of(0))
    report = check_dataset(dataset)
    assert report.all_errors == []
    assert report.all_warnings == [
        f"{dataset}: patient p1 is in training and test",
        f"{dataset}/imagesTs/p1_frame02.nii.gz: has the same voxels as p0_frame01",
    ]


def test_warnings_about_geometry(tmp_path):
    save(tmp_path / "a.nii.gz", image_of(0))
    odd = nib.Nifti1Image(image_of(1), np.diag([-1.0, 2.0, 60.0, 1.0]))
    odd.header.set_xyzt_units("micron")
    odd.header["pixdim"][1] = 3
    nib.save(odd, tmp_path / "b.nii.gz")
    bare = nib.Nifti1Image(image_of(2), None)
    nib.save(bare, tmp_path / "c.nii.gz")
    report = check_dataset(tmp_path)
    assert report.all_errors == [
        f"{tmp_path}/b.nii.gz: spacing 1 x 2 x 60 is not in mm (0.05 to 50); write mm into the header"
    ]
    assert report.notes == ["no case has a label: usable for segmentation, not for training or evaluation"]
    text = "\n".join(report.all_warnings)
    assert f"{tmp_path}: axis orders differ between cases (LAS, RAS)" in text
    assert "b.nii.gz: pixdim says 3 x 2 x 60 mm, the affine 1 x 2 x 60 mm; the affine is used" in text
    assert "b.nii.gz: lengths are in micron; they are read as mm" in text
    assert "c.nii.gz: the header states no orientation" in text
    assert "a.nii.gz" not in text


def test_an_empty_folder_is_an_error_of_the_report(tmp_path):
    assert check_dataset(tmp_path).all_errors == [f"{tmp_path}: holds no images; {LAYOUT}"]
    with pytest.raises(InputError, match="there is no such folder"):
        check_dataset(tmp_path / "nowhere")


def test_progress_and_reading_each_file_once(dataset, monkeypatch):
    reads = []

    def counted(path, data=True, original=check_dataset.__globals__["read_nifti"]):
        reads.append(Path(path).name)
        return original(path, data)

    monkeypatch.setattr("heartseg.data.dataset_checks.read_nifti", counted)
    seen = []
    check_dataset(dataset, progress=lambda cases: (seen.append(case["id"]) or case for case in cases))
    assert seen == ["p0_frame01", "p1_frame01", "p2_frame01"]
    assert len(reads) == 6
