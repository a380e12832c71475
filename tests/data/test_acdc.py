"""ACDC's own layout: patients' folders, frames, and phases from Info.cfg."""

import pytest

from heartseg.data import acdc
from heartseg.data.acdc import Info, phase_of, read_info
from heartseg.data.cases import find_cases, select_cases, split_cases
from heartseg.data.dataset_checks import check_dataset
from heartseg.data.layout import scan
from heartseg.data.scans import list_scans
from heartseg.errors import InputError

INFO = "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"


def patient(folder, name, frames=(1, 12), truths=(1, 12), info=INFO):
    """Create a patient's folder with empty files named as in ACDC, and other files found there."""
    folder = folder / name
    folder.mkdir(parents=True)
    for frame in frames:
        (folder / f"{name}_frame{frame:02}.nii.gz").touch()
    for frame in truths:
        (folder / f"{name}_frame{frame:02}_gt.nii.gz").touch()
    for other in (f"{name}_4d.nii.gz", "MANDATORY_CITATION.md", f"._{name}_frame01.nii.gz", ".DS_Store"):
        (folder / other).touch()
    if info is not None:
        (folder / "Info.cfg").write_text(info)
    return folder


def ids(cases):
    return [case["id"] for case in cases]


def faults(folder):
    training, test = scan(folder)
    assert test.faults == []
    return training.faults


def test_a_patient_has_two_frames_with_phase_and_group(tmp_path):
    folder = patient(tmp_path, "patient001")
    assert find_cases(tmp_path, labelled=True) == [
        {
            "id": "patient001_frame01",
            "patient": "patient001",
            "image": f"{folder}/patient001_frame01.nii.gz",
            "label": f"{folder}/patient001_frame01_gt.nii.gz",
            "phase": "ED",
            "group": "DCM",
        },
        {
            "id": "patient001_frame12",
            "patient": "patient001",
            "image": f"{folder}/patient001_frame12.nii.gz",
            "label": f"{folder}/patient001_frame12_gt.nii.gz",
            "phase": "ES",
            "group": "DCM",
        },
    ]


def test_a_frame_between_end_diastole_and_end_systole_has_a_group_but_no_phase(tmp_path):
    patient(tmp_path, "patient001", frames=(1, 5, 12), truths=(1, 5, 12))
    found = [(case["id"][-2:], case.get("phase"), case["group"]) for case in find_cases(tmp_path, labelled=True)]
    assert found == [("01", "ED", "DCM"), ("05", None, "DCM"), ("12", "ES", "DCM")]
    assert "phase" not in find_cases(tmp_path)[1]


def test_without_info_there_is_neither_phase_nor_group(tmp_path):
    patient(tmp_path, "patient001", info=None)
    patient(tmp_path, "patient002", info="ED: 1\r\nES: 12\r\n")  # as for the test patients, with Windows line ends
    first, _, third, _ = find_cases(tmp_path)
    assert first.keys() == {"id", "patient", "image", "label"}
    assert third.keys() == {"id", "patient", "image", "label", "phase"}


@pytest.mark.parametrize("inside", [".", "database"])
def test_training_and_testing(tmp_path, inside):
    root = tmp_path / inside
    patient(root / "training", "patient002")
    patient(root / "training", "patient001")
    patient(root / "testing", "patient101", truths=())
    (root / "MANDATORY_CITATION.md").touch()
    training = ["patient001_frame01", "patient001_frame12", "patient002_frame01", "patient002_frame12"]
    test = ["patient101_frame01", "patient101_frame12"]
    assert ids(find_cases(tmp_path, labelled=True)) == training
    assert ids(find_cases(tmp_path, labelled=False)) == test
    assert ids(find_cases(tmp_path)) == training + test
    assert [scan["image"].rpartition("/")[2] for scan in list_scans(tmp_path)] == [f"{i}.nii.gz" for i in test]
    train, val = split_cases(find_cases(tmp_path, labelled=True), folds=2)
    assert sorted([*ids(train), *ids(val)]) == training
    assert {case["patient"] for case in train}.isdisjoint(case["patient"] for case in val)
    assert ids(select_cases(tmp_path, "all")) == training
    with pytest.raises(InputError, match="holds no labelled test cases; expected testing/ with truths as in ACDC"):
        select_cases(tmp_path, "test")


def test_test_patients_keep_their_labels(tmp_path):
    patient(tmp_path / "training", "patient001")
    folder = patient(tmp_path / "testing", "patient101")
    assert find_cases(tmp_path, labelled=False)[0]["label"] == f"{folder}/patient101_frame01_gt.nii.gz"
    assert ids(select_cases(tmp_path, "test")) == ["patient101_frame01", "patient101_frame12"]
    assert ids(select_cases(tmp_path, "all"))[1:3] == ["patient001_frame12", "patient101_frame01"]
    assert ids(find_cases(tmp_path, labelled=True)) == ["patient001_frame01", "patient001_frame12"]
    assert ids(select_cases(tmp_path / "testing", "all")) == ["patient101_frame01", "patient101_frame12"]


def test_test_patients_alone(tmp_path):
    patient(tmp_path / "testing", "patient101")
    assert ids(select_cases(tmp_path, "all")) == ids(select_cases(tmp_path, "test")) == ids(find_cases(tmp_path))
    with pytest.raises(InputError, match="holds no labelled cases; expected imagesTr/"):
        find_cases(tmp_path, labelled=True)


def test_one_id_in_training_and_test(tmp_path):
    patient(tmp_path / "training", "patient001")
    patient(tmp_path / "testing", "patient001")
    with pytest.raises(InputError, match=r"patient001_frame01 is in training and test \(and 1 more\); remove"):
        select_cases(tmp_path, "all")


def test_one_patient_in_two_places(tmp_path):
    first = patient(tmp_path, "patient001")
    second = patient(tmp_path / "training", "patient001")
    name = "patient001_frame01.nii.gz"
    assert f"{second / name}: has the same id as {first / name}" in faults(tmp_path)


@pytest.mark.parametrize("info", [INFO, None])
def test_the_folder_of_one_patient(tmp_path, monkeypatch, info):
    folder = patient(tmp_path, "patient007", info=info)
    assert ids(find_cases(folder, labelled=True)) == ["patient007_frame01", "patient007_frame12"]
    monkeypatch.chdir(folder)
    assert [entry["image"] for entry in list_scans(".")] == ["patient007_frame01.nii.gz", "patient007_frame12.nii.gz"]


def test_a_folder_of_frames_of_several_patients_stays_a_plain_folder(tmp_path):
    for name in ("patient001_frame01.nii.gz", "patient002_frame01.nii.gz"):
        (tmp_path / name).touch()
    assert ids(find_cases(tmp_path, labelled=False)) == ["patient001_frame01", "patient002_frame01"]


def test_folders_that_are_not_patients(tmp_path):
    patient(tmp_path, "patient001")
    patient(tmp_path, ".cache")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "patient009_frame01.nii.gz").touch()
    (tmp_path / "patient002_frame01.nii.gz").mkdir()
    assert ids(find_cases(tmp_path)) == ["patient001_frame01", "patient001_frame12"]


@pytest.mark.parametrize("folder", ["imagesTr", "images"])
def test_decathlon_layout_wins_over_folders_of_patients(tmp_path, folder):
    patient(tmp_path, "patient001")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.nii.gz").touch()
    if folder == "images":
        (tmp_path / "dataset.json").write_text('{"training": [{"image": "./images/a.nii.gz"}]}')
    assert ids(find_cases(tmp_path)) == ["a"]


def test_a_dataset_json_without_lists_does_not_hide_patients(tmp_path):
    patient(tmp_path, "patient001")
    (tmp_path / "dataset.json").write_text('{"labels": {"1": "right ventricle"}}')
    assert len(find_cases(tmp_path, labelled=True)) == 2


def test_a_frame_without_truth_and_a_truth_without_frame(tmp_path):
    folder = patient(tmp_path, "patient001", frames=(1, 12), truths=(1, 13))
    training, _ = scan(tmp_path)
    assert training.unpaired == [
        f"{folder}/patient001_frame12.nii.gz: has no label, but other images do",
        f"{folder}/patient001_frame13_gt.nii.gz: has no matching image",
    ]
    with pytest.raises(InputError, match="frame12.nii.gz: has no label, but other images do .*; add the missing file"):
        find_cases(tmp_path, labelled=True)
    assert ids(find_cases(tmp_path)) == ["patient001_frame01", "patient001_frame12"]


def test_check_finds_unpaired_files_of_test_patients(tmp_path):
    folder = patient(tmp_path / "testing", "patient101", truths=(1,))
    report = check_dataset(tmp_path)
    assert report.errors == [f"{folder}/patient101_frame12.nii.gz: has no label, but other images do"]
    with pytest.raises(InputError, match="patient101_frame12.nii.gz: has no label"):
        select_cases(tmp_path, "test")


@pytest.mark.parametrize(
    ("info", "fault"),
    [
        ("ES: 12\n", "does not say which frame is ED"),
        ("ED: 1\n", "does not say which frame is ES"),
        ("", "does not say which frame is ED"),
        ("ED:\nES: 12\n", "does not say which frame is ED"),
        ("\x89PNG\r\n", "does not say which frame is ED"),
        ("ED: one\nES: 12\n", "ED is 'one', not a frame number"),
        ("ED: 1\nES: 12.5\n", "ES is '12.5', not a frame number"),
        ("ED: 1\nES: -12\n", "ES is '-12', not a frame number"),
        ("ED: 12\nES: 12\n", "ED and ES are both frame 12"),
        ("ED: 1\nES: 01\n", "ED and ES are both frame 01"),
        ("ED: 1\nES: 9\n", "ES is frame 9, but there is no file *_frame09.nii.gz"),
    ],
)
def test_a_broken_info_is_a_one_line_fault(tmp_path, info, fault):
    folder = patient(tmp_path, "patient001", info=info)
    line = f"{folder}/Info.cfg: {fault}"
    assert faults(tmp_path) == [line]
    assert check_dataset(tmp_path).errors == [line]
    for labelled in (True, None):
        with pytest.raises(InputError) as caught:
            find_cases(tmp_path, labelled)
        assert str(caught.value) == f"{line}; fix the data set"


def test_info_that_cannot_be_read(tmp_path):
    folder = patient(tmp_path, "patient001", info=None)
    (folder / "Info.cfg").mkdir()
    assert faults(tmp_path) == [f"{folder}/Info.cfg: cannot be read (Is a directory)"]


def test_an_info_without_frames_is_a_fault(tmp_path):
    folder = patient(tmp_path, "patient001", frames=(), truths=())
    assert faults(tmp_path) == [
        f"{folder}/Info.cfg: ED is frame 1, but there is no file *_frame01.nii.gz",
        f"{folder}/Info.cfg: ES is frame 12, but there is no file *_frame12.nii.gz",
    ]


def test_one_frame_in_two_files_and_a_broken_link(tmp_path):
    folder = patient(tmp_path, "patient001", frames=(1,))
    (folder / "patient001_frame01.nii").touch()
    (folder / "patient001_frame12.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    assert faults(tmp_path) == [
        f"{folder}/patient001_frame01.nii.gz: has the same id as patient001_frame01.nii",
        f"{folder}/patient001_frame12.nii.gz: there is no such file",
    ]


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(acdc.Path, "iterdir", refuse)
    with pytest.raises(InputError) as caught:
        acdc.patient_folders(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read (Permission denied); fix its permissions"


def test_the_error_suggests_a_data_set_in_a_subfolder(tmp_path):
    patient(tmp_path / "ACDC" / "database" / "training", "patient001")
    with pytest.raises(InputError, match=r"or folders patient001/ ... as in ACDC; did you mean .*/ACDC\?$"):
        find_cases(tmp_path, labelled=True)


def test_read_info(tmp_path):
    assert read_info(tmp_path) == Info()
    (tmp_path / "Info.cfg").write_bytes(b"\xef\xbb\xbfES:9\n ED : 10 \nGroup:  MINF\nno colon\n")
    assert read_info(tmp_path) == Info({9: "ES", 10: "ED"}, "MINF")


def test_phase_of_a_file(tmp_path):
    folder = patient(tmp_path, "patient001", frames=(1, 5), truths=(1,))  # the end-systolic frame may be missing
    assert phase_of(folder / "patient001_frame01.nii.gz") == "ED"
    assert phase_of(folder / "patient001_frame01_gt.nii.gz") == "ED"
    assert phase_of(str(folder / "patient001_frame12.nii")) == "ES"
    assert phase_of(folder / "patient001_frame05.nii.gz") is None
    assert phase_of(folder / "patient001_4d.nii.gz") is None
    assert phase_of(patient(tmp_path, "patient002", info=None) / "patient002_frame01.nii.gz") is None


def test_phase_of_a_file_with_a_broken_info(tmp_path):
    folder = patient(tmp_path, "patient001", info="ED: 1\n")
    with pytest.raises(InputError) as caught:
        phase_of(folder / "patient001_frame01.nii.gz")
    assert str(caught.value) == f"{folder}/Info.cfg: does not say which frame is ES; fix or remove it"


def test_real_frames_in_this_layout(tmp_path, real_data):
    for name in ("patient003", "patient005"):
        folder = patient(tmp_path, name, frames=(), truths=(), info="ED: 1\nES: 2\nGroup: NOR\n")
        for frame in ("frame01", "frame02"):
            file = f"{name}_{frame}.nii.gz"
            (folder / file).symlink_to(real_data / "ACDC" / "imagesTr" / file)
            (folder / f"{name}_{frame}_gt.nii.gz").symlink_to(real_data / "ACDC" / "labelsTr" / file)
    report = check_dataset(tmp_path, labels=[1, 2, 3])
    assert report.all_errors == []
    assert report.lines()[0] == "cases: 4 (4 labelled) of 2 patients"
    volumes = {case.id: case.millilitres[3] for case in report.cases}
    for case in find_cases(tmp_path, labelled=True):
        other = {"ED": "_frame02", "ES": "_frame01"}[case["phase"]]
        assert (volumes[case["id"]] > volumes[case["patient"] + other]) == (case["phase"] == "ED")
