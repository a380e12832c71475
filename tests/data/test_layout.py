import json

import pytest

from heartseg.data.layout import case_id, declared_labels, patient_of, scan
from heartseg.errors import InputError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagesTr/la_003.nii.gz", "la_003"),
        ("la_003.nii", "la_003"),
        ("v1.2_scan.nii.gz", "v1.2_scan"),
        ("._la_003.nii.gz", None),
        (".partial-7-la_003.nii.gz", None),
        ("la_003.mha", None),
        ("notes.txt", None),
    ],
)
def test_case_id(name, expected):
    assert case_id(name) == expected


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("patient002_frame01", "patient002"),
        ("patient002_frame12", "patient002"),
        ("la_003", "la_003"),
        ("x_frame01_b", "x_frame01_b"),
    ],
)
def test_patient_of(identity, expected):
    assert patient_of(identity) == expected


def test_scan_collects_every_fault_instead_of_raising(tmp_path):
    for name in (
        "imagesTr/a.nii",
        "imagesTr/a.nii.gz",
        "imagesTr/b.nii.gz",
        "labelsTr/a.nii",
        "labelsTr/z.nii",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    training, test = scan(tmp_path)
    assert [case["id"] for case in training.cases] == ["a", "b"]
    assert training.faults == [f"{tmp_path}/imagesTr/a.nii.gz: has the same id as a.nii"]
    assert training.unpaired == [
        f"{tmp_path}/imagesTr/b.nii.gz: has no label, but other images do",
        f"{tmp_path}/labelsTr/z.nii: has no matching image",
    ]
    assert test.cases == []


def test_a_broken_link_is_reported(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "a.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    training, _ = scan(tmp_path)
    assert training.faults == [f"{tmp_path}/imagesTr/a.nii.gz: there is no such file"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"0": "background", "1": "left atrium"}, {0: "background", 1: "left atrium"}),
        ({"background": 0, "RV": 1, "heart": [1, 2]}, {0: "background", 1: "RV", 2: "heart"}),
        ({}, None),
    ],
)
def test_declared_labels_of_decathlon_and_nnunet(tmp_path, labels, expected):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert declared_labels(tmp_path) == expected


def test_no_dataset_json_declares_nothing(tmp_path):
    assert declared_labels(tmp_path) is None


@pytest.mark.parametrize("labels", [["a"], {"RV": "one"}, {"RV": None}])
def test_unreadable_labels(tmp_path, labels):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(InputError, match='"labels" cannot be read; write'):
        declared_labels(tmp_path)
