import json
import random

import pytest
from refusals import refusal

from heartseg.data.cases import find_cases, folds_of, select_cases, split_cases
from heartseg.errors import InputError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def ids(cases):
    return [case["id"] for case in cases]


@pytest.fixture
def decathlon(tmp_path):
    """Two labelled cases, one test image, and hidden files of a Mac."""
    return touch(
        tmp_path,
        "imagesTr/la_007.nii.gz",
        "imagesTr/la_003.nii",
        "imagesTr/._la_003.nii.gz",
        "imagesTr/.DS_Store",
        "labelsTr/la_003.nii.gz",
        "labelsTr/la_007.nii.gz",
        "labelsTr/._la_007.nii.gz",
        "imagesTs/la_001.nii.gz",
        "imagesTs/._la_001.nii.gz",
    )


@pytest.fixture
def acdc(tmp_path):
    names = [f"patient{number:03}_frame{frame:02}.nii.gz" for number in range(1, 9) for frame in (1, 2)]
    return touch(tmp_path, *(f"{part}/{name}" for part in ("imagesTr", "labelsTr") for name in names))


def test_pairs_by_name_regardless_of_suffix(decathlon):
    assert find_cases(decathlon, labelled=True) == [
        {
            "id": "la_003",
            "patient": "la_003",
            "image": f"{decathlon}/imagesTr/la_003.nii",
            "label": f"{decathlon}/labelsTr/la_003.nii.gz",
        },
        {
            "id": "la_007",
            "patient": "la_007",
            "image": f"{decathlon}/imagesTr/la_007.nii.gz",
            "label": f"{decathlon}/labelsTr/la_007.nii.gz",
        },
    ]


def test_test_images_and_all_images(decathlon):
    test = {"id": "la_001", "patient": "la_001", "image": f"{decathlon}/imagesTs/la_001.nii.gz"}
    assert find_cases(decathlon, labelled=False) == [test]
    assert ids(find_cases(decathlon)) == ["la_003", "la_007", "la_001"]


def test_frames_share_their_patient(acdc):
    cases = find_cases(acdc, labelled=True)
    assert [case["patient"] for case in cases[:3]] == ["patient001", "patient001", "patient002"]


def test_plain_folder_of_images(tmp_path):
    touch(tmp_path, "b.nii", "a.nii.gz", "._a.nii.gz", "notes.txt")
    assert ids(find_cases(tmp_path)) == ["a", "b"]
    assert ids(find_cases(tmp_path, labelled=False)) == ["a", "b"]
    with pytest.raises(InputError, match="holds no labelled cases; expected imagesTr/ and labelsTr/"):
        find_cases(tmp_path, labelled=True)


def test_nnunet_suffix_is_dropped_if_the_label_lacks_it(tmp_path):
    touch(tmp_path, "imagesTr/x_0000.nii.gz", "labelsTr/x.nii.gz")
    touch(tmp_path, "imagesTr/y_0000.nii.gz", "labelsTr/y_0000.nii.gz")
    cases = find_cases(tmp_path, labelled=True)
    assert ids(cases) == ["x", "y_0000"]
    assert cases[0]["image"].endswith("x_0000.nii.gz")


def test_one_missing_label_is_named(decathlon):
    touch(decathlon, "imagesTr/la_009.nii.gz", "imagesTr/la_010.nii.gz")
    line = r"imagesTr/la_009.nii.gz: has no label, but other images do \(and 1 more\); add"
    with pytest.raises(InputError, match=line):
        find_cases(decathlon, labelled=True)
    assert "label" not in find_cases(decathlon)[2]  # unless for training, it is an unlabelled case


def test_label_without_image_is_named(decathlon):
    touch(decathlon, "labelsTr/la_009.nii.gz")
    with pytest.raises(InputError, match="labelsTr/la_009.nii.gz: has no matching image"):
        find_cases(decathlon, labelled=True)


def test_images_without_any_label(tmp_path):
    touch(tmp_path, "imagesTr/a.nii", "imagesTr/b.nii")
    assert ids(find_cases(tmp_path)) == ["a", "b"]
    with pytest.raises(InputError, match="holds no labelled cases"):
        find_cases(tmp_path, labelled=True)


@pytest.mark.parametrize("labelled", [True, None])
def test_repeated_id(decathlon, labelled):
    touch(decathlon, "imagesTr/la_003.nii.gz")
    with pytest.raises(InputError, match="la_003.nii.gz: has the same id as la_003.nii"):
        find_cases(decathlon, labelled)


def test_missing_folder_file_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere: there is no such folder; give the folder of a data set"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(InputError, match="x.nii: is a file, not a folder"):
        find_cases(touch(tmp_path, "x.nii") / "x.nii")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no .nii or .nii.gz file; give a folder of scans, or a data set"):
        find_cases(tmp_path / "empty")
    with pytest.raises(InputError, match="holds no test images; expected imagesTs/"):
        find_cases(tmp_path / "empty", labelled=False)


def test_the_error_suggests_a_data_set_in_a_subfolder(tmp_path):
    touch(tmp_path, "Task02_Heart/imagesTr/a.nii", "Task02_Heart/labelsTr/a.nii")
    with pytest.raises(InputError, match="did you mean .*/Task02_Heart?"):
        find_cases(tmp_path, labelled=True)


def write_json(folder, **content):
    (folder / "dataset.json").write_text(json.dumps(content))


def test_dataset_json_decides(decathlon):
    touch(decathlon, "imagesTr/extra.nii.gz")
    write_json(
        decathlon,
        training=[
            {"image": "./imagesTr/la_007.nii.gz", "label": "./labelsTr/la_007.nii.gz"},
            {"image": "./imagesTr/._la_003.nii.gz", "label": "./labelsTr/._la_003.nii.gz"},
            {"image": "imagesTr/la_003.nii", "label": "labelsTr/la_003.nii.gz"},
        ],
        test=["./imagesTs/la_001.nii.gz"],
    )
    cases = find_cases(decathlon, labelled=True)
    assert ids(cases) == ["la_003", "la_007"]
    assert cases[1]["label"] == f"{decathlon}/labelsTr/la_007.nii.gz"
    assert ids(find_cases(decathlon, labelled=False)) == ["la_001"]


def test_dataset_json_without_lists_leaves_it_to_the_names(decathlon):
    write_json(decathlon, numTraining=2, labels={"background": 0, "LA": 1})
    assert ids(find_cases(decathlon, labelled=True)) == ["la_003", "la_007"]


def test_dataset_json_with_an_empty_test_list(decathlon):
    write_json(decathlon, test=[])
    assert ids(find_cases(decathlon)) == ["la_003", "la_007"]


def test_a_listed_file_that_is_missing(decathlon):
    write_json(decathlon, training=[{"image": "./imagesTr/la_099.nii.gz", "label": "./labelsTr/la_099.nii.gz"}])
    with pytest.raises(InputError, match=r"imagesTr/la_099.nii.gz: there is no such file \(and 1 more"):
        find_cases(decathlon, labelled=True)


@pytest.mark.parametrize("entry", ["x.nii", {"label": "x.nii"}, {"image": ["a.nii", "b.nii"]}, {"image": None}, 3])
def test_an_entry_that_is_not_a_case(decathlon, entry):
    write_json(decathlon, training=[entry])
    with pytest.raises(InputError, match='dataset.json: "training" has an entry that is not a case'):
        find_cases(decathlon)


@pytest.mark.parametrize(("text", "line"), [("{", "cannot be read as JSON"), ("[]", "holds a list, not an object")])
def test_broken_dataset_json(decathlon, text, line):
    (decathlon / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=line):
        find_cases(decathlon)


def test_split_by_patient_is_complete_and_disjoint(acdc):
    cases = find_cases(acdc, labelled=True)
    held_out = []
    for fold in range(4):
        train, val = split_cases(cases, fold=fold, folds=4, seed=3)
        assert len(train) == 12
        assert len(val) == 4
        assert not {case["patient"] for case in train} & {case["patient"] for case in val}
        held_out += ids(val)
    assert sorted(held_out) == ids(cases)


def test_split_is_the_documented_shuffle():
    # numpy.random.RandomState(0) shuffles 0..7 to 6 2 1 7 3 0 5 4; fold 0 of 4 takes every fourth from the first
    cases = [{"id": letter, "patient": letter, "image": f"{letter}.nii"} for letter in "abcdefgh"]
    train, val = split_cases(cases, fold=0, folds=4, seed=0)
    assert ids(val) == ["d", "g"]
    assert ids(train) == ["a", "b", "c", "e", "f", "h"]


def test_split_does_not_depend_on_the_order_of_the_cases(acdc):
    cases = find_cases(acdc, labelled=True)
    shuffled = random.Random(1).sample(cases, len(cases))
    assert sorted(ids(split_cases(shuffled)[1])) == ids(split_cases(cases)[1])
    assert ids(split_cases(cases, seed=0)[1]) != ids(split_cases(cases, seed=1)[1])


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"fold": 4}, "fold: 4 is out of range; give a whole number from 0 to 3"),
        ({"fold": -1}, "fold: -1 is out of range"),
        ({"fold": "0"}, "fold: '0' is out of range"),
        ({"fold": True}, "fold: True is out of range"),
        ({"folds": 1}, "folds: 1 is out of range; give a whole number from 2"),
        ({"folds": 9}, "folds: 9 folds need as many patients, and there are 8; lower folds or add patients"),
        ({"seed": -1}, "seed: -1 is out of range"),
    ],
)
def test_split_out_of_range(acdc, keys, line):
    with pytest.raises(InputError, match=line):
        split_cases(find_cases(acdc, labelled=True), **keys)


def test_folds_of_a_validation_share():
    assert [folds_of(share) for share in (0.5, 0.6, 0.3, 0.25, 0.2, 0.125)] == [2, 2, 3, 4, 5, 8]
    for share in (0.7, 1, 1.5, 0, -0.5, float("nan"), True, "0.5", None):
        with pytest.raises(InputError, match=r"^validation_share: .* is not a share .*; give a number"):
            folds_of(share)


def test_select_sections(acdc):
    train, val = split_cases(find_cases(acdc, labelled=True), fold=1, folds=4, seed=2)
    assert select_cases(acdc, "train", 1, 4, 2) == train
    assert select_cases(acdc, "val", fold=1, folds=4, seed=2) == val
    assert len(select_cases(acdc, "all")) == 16
    assert refusal(select_cases, acdc, "tests") == "split tests: unknown; give all, train, val or test"


@pytest.mark.parametrize("name", ["split.json", "split.yaml", "split.yml"])
def test_split_file(decathlon, name):
    split = decathlon / name  # JSON is YAML too
    split.write_text('{"train": ["la_007"], "val": ["la_003"]}')
    touch(decathlon, "imagesTr/la_099.nii.gz")  # neither listed nor labelled: ignored
    assert ids(select_cases(decathlon, "train", split_file=split)) == ["la_007"]
    assert ids(select_cases(decathlon, "val", split_file=split)) == ["la_003"]


P1, P2, P3 = "patient001_frame01", "patient002_frame01", "patient003_frame01"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"train": [P1], "val": ["nobody"]}, "val: there is no case 'nobody'"),
        ({"train": [P1]}, 'lacks a list under "val"'),
        ({"train": [], "val": [P1]}, 'lacks a list under "train"'),
        ({"train": P1, "val": [P2]}, 'lacks a list under "train"'),
        ([P1], 'lacks a list under "train"'),
        ({"train": [1], "val": [P1]}, "train: 1 is not text; put the id in quotes"),
        ({"train": [P1, P1], "val": [P2]}, f"train: {P1} is listed twice"),
        ({"train": [P1], "val": [P1]}, f"val: {P1} is listed twice"),
        ({"train": [P1, P3], "val": [P2, "patient001_frame02"]}, "patient patient001 is in train and in val"),
        ({"train": [P1], "val": ["bare"]}, "val: bare has no label"),
    ],
)
def test_faulty_split_file(acdc, tmp_path, content, line):
    touch(acdc, "imagesTr/bare.nii.gz")
    split = tmp_path / "split.json"
    split.write_text(json.dumps(content))
    with pytest.raises(InputError, match=line) as caught:
        select_cases(acdc, "train", split_file=split)
    assert str(caught.value).startswith(str(split))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "text"), [("s.yaml", "a: [1\nb: }"), ("s.json", "{")])
def test_unreadable_split_file(acdc, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert "cannot be read as JSON or YAML" in refusal(select_cases, acdc, "val", split_file=tmp_path / name)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("missing.json", "there is no such file; give a split file in JSON or YAML"),
        ("", "is a folder; give a split file in JSON or YAML"),
        ("split", "its name does not end in .json or .yaml; rename it"),
        ("split.txt", "its name does not end in .json or .yaml; rename it"),
    ],
)
def test_what_is_no_split_file_is_refused(acdc, tmp_path, name, line):
    for there in ("split", "split.txt"):
        (tmp_path / there).write_text("{}")
    assert refusal(select_cases, acdc, "val", split_file=tmp_path / name) == f"{tmp_path / name}: {line}"
