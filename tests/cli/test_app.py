"""The commands: their output, the files they leave, and their errors."""

import errno
import json
import os
import shlex
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from answers import refused, tree

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "left_atrium"
# For speed: a coarse grid and one small window.
QUICK = ["--overlay", "demo", "--set", "spacing=[8, 8, 8]", "--set", "roi_size=[32, 32, 32]", "--set", "overlap=0"]


def only_error(answer):
    """Return the error as `refused` does, and check that it is the only output."""
    assert len(answer[2].splitlines()) == 1
    return refused(answer)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working folder, which refused commands leave empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# Data


def test_check_of_a_good_data_set(phantoms, heartseg):
    status, out, _ = heartseg("check", phantoms)
    assert status == 0
    assert out.splitlines()[0] == "cases: 7 (6 labelled) of 7 patients"
    assert "label 1 (left atrium): mean " in out
    assert out.splitlines()[-1].startswith("0 errors, ")


def test_check_with_allowed_labels(phantoms, heartseg):
    assert heartseg("check", phantoms, "--labels", "0,1")[0] == 0
    status, out, _ = heartseg("check", phantoms, "--labels", "0,2")
    assert status == 2
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 6 and all("holds the label 1" in line for line in errors)


def test_check_reports_each_fault_in_one_line(phantoms, heartseg, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    images, labels = tmp_path / "data" / "imagesTr", tmp_path / "data" / "labelsTr"
    (images / "la_001.nii.gz").write_text("no image")
    moved = nib.load(labels / "la_002.nii.gz")
    affine = moved.affine.copy()
    affine[0, 3] += 5
    nib.save(nib.Nifti1Image(np.asarray(moved.dataobj), affine), labels / "la_002.nii.gz")
    (labels / "la_003.nii.gz").unlink()
    status, out, err = heartseg("check", tmp_path / "data")
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert status == 2 and "Traceback" not in err
    for case, words in (("la_001", "imagesTr"), ("la_002", "mm away from its image"), ("la_003", "")):
        assert len([line for line in errors if case in line and words in line]) == 1, errors
    assert out.splitlines()[-1].startswith(f"{len(errors)} errors, ")


def test_check_refuses_invalid_labels_and_missing_folders(phantoms, heartseg, empty):
    assert only_error(heartseg("check", phantoms, "--labels", "0,x")).startswith("--labels 0,x: ")
    assert "nowhere" in only_error(heartseg("check", "nowhere"))


def test_phantom_writes_a_data_set_and_prints_its_folder(heartseg, empty):
    status, out, _ = heartseg("phantom", "drawn", "--cases", 1, "--seed", 3, "--size", "small")
    assert (status, out) == (0, "phantoms: drawn\n")
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        assert len(list((empty / "drawn" / part).glob("*.nii.gz"))) == 1
    again = tree(empty)
    assert "other phantoms" in only_error(heartseg("phantom", "drawn", "--cases", 1, "--seed", 4, "--size", "small"))
    assert "atrium" in only_error(heartseg("phantom", "new", "--kind", "atrum"))
    assert tree(empty) == again


# Segmenting


@pytest.fixture
def scans(phantoms, tmp_path):
    """A scan, a text file named like one, a name with markup brackets, and a path with a space."""
    folder = tmp_path / "my scans"
    folder.mkdir()
    image = nib.load(phantoms / "imagesTs" / "la_007.nii.gz").slicer[::2, ::2, ::2]
    for name in ("first.nii.gz", "last[bold].nii"):
        nib.save(image, folder / name)
    (folder / "bad.nii.gz").write_text("this is a text")
    return [folder / name for name in ("first.nii.gz", "bad.nii.gz", "last[bold].nii")]


def test_segment_continues_after_a_bad_scan_and_skips_existing_masks(scans, seeded_weights, heartseg, tmp_path):
    masks = tmp_path / "masks"
    words = ["segment", "left_atrium", *scans, "--weights", seeded_weights, *QUICK, "--out", masks]
    status, out, err = heartseg(*words)
    assert status == 2
    assert sorted(path.name for path in masks.iterdir()) == [
        "first.nii.gz",
        "last[bold].nii.gz",
        "segmentation.json",
    ]
    assert [line for line in err.splitlines() if "bad.nii.gz" in line and line.startswith("heartseg: ")]
    assert len([line for line in (out + err).splitlines() if "bad.nii.gz: " in line]) == 1
    assert "Traceback" not in err
    first, last, summary = out.splitlines()
    assert first.startswith(f"{masks / 'first.nii.gz'}: left_atrium ") and " mL, " in first
    assert last.startswith(f"{masks / 'last[bold].nii.gz'}: left_atrium ")
    assert summary == "2 segmented, 1 could not be segmented"
    assert "device cpu" in err or "device cuda" in err

    before = tree(masks)
    status, out, _ = heartseg(*words)
    assert status == 2  # the bad one is retried
    assert out.splitlines() == [
        "0 segmented, 2 skipped since they have a mask (--overwrite redoes them), 1 could not be segmented"
    ]
    assert tree(masks) == before

    words[3:4] = []  # without the bad one
    status, out, _ = heartseg(*words, "--overwrite")
    assert (status, out.splitlines()[-1]) == (0, "2 segmented")
    after = tree(masks)
    mask = Path("first.nii.gz")
    assert after[mask][0] == before[mask][0] and after[mask][1] > before[mask][1]
    assert set(json.loads((masks / "segmentation.json").read_text())) == {"first.nii.gz", "last[bold].nii.gz"}


def test_the_printed_line_is_equivalent_to_segment(scans, seeded_weights, heartseg, tmp_path):
    words = ["segment", "left_atrium", scans[0], "--weights", seeded_weights, *QUICK, "--out", tmp_path / "masks"]
    _, _, err = heartseg(*words)
    (line,) = [line for line in err.splitlines() if "python -m monai.bundle" in line]
    said = shlex.split(line)
    assert said[:7] == ["cd", str(BUNDLE), "&&", "python", "-m", "monai.bundle", "run"]
    assert said[7:10] == ["inference", "--config_file", "['configs/inference.yaml','configs/demo.yaml']"]
    values = dict(zip(said[10::2], said[11::2], strict=True))
    assert values == {
        "--inputs": f"['{scans[0]}']",
        "--output_dir": str(tmp_path / "masks"),
        "--weights": str(seeded_weights),
        "--spacing": "[8, 8, 8]",
        "--roi_size": "[32, 32, 32]",
        "--overlap": "0",
    }


def test_a_folder_is_segmented_and_two_scans_with_one_name_are_refused(scans, seeded_weights, heartseg, empty):
    scans[1].unlink()
    status, out, _ = heartseg(
        "segment", "left_atrium", scans[0].parent, "--weights", seeded_weights, *QUICK, "--out", "m"
    )
    assert (status, out.splitlines()[-1]) == (0, "2 segmented")
    (scans[0].parent / "twin").mkdir()
    twin = shutil.copy(scans[0], scans[0].parent / "twin")
    words = ["segment", "left_atrium", scans[0], twin, "--weights", seeded_weights, "--out", "n"]
    assert "its mask would replace that of" in only_error(heartseg(*words))
    assert not Path("n").exists()


# Refusals


WRONG = {
    "bundle": (["left_atrum"], "did you mean left_atrium?"),
    "overlay": (["left_atrium", "--overlay", "dmeo"], "did you mean demo?"),
    "id": (["left_atrium", "--set", "spacign=[2, 2, 2]"], "did you mean spacing?"),
    "setting": (["left_atrium", "--set", "spacing"], "is not ID=VALUE"),
    "brackets": (["left_atrium", "--set", "spacing=[2, 2"], "is not valid YAML"),
    "weights": (["left_atrium", "--weights", "nowhere.pt"], "nowhere.pt: no such file"),
    "folder of weights": (["left_atrium", "--weights", "."], "is a folder; give the file with the weights, such as "),
    "missing run": (["left_atrium", "--run", "nope"], "nope: there is no such folder; give the folder of a run"),
    "run": (["left_atrium", "--run", "."], "holds no model.pt"),
    "both": (["left_atrium", "--run", ".", "--weights", "model.pt"], "both give weights"),
}


@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("door", ["segment", "evaluate", "robustness"])
def test_invalid_options_are_refused_in_one_line_and_nothing_is_written(door, fault, phantoms, heartseg, empty):
    words, said = WRONG[fault]
    data = [phantoms / "imagesTs"] if door == "segment" else ["--data", phantoms]
    assert said in refused(heartseg(door, words[0], *data, *words[1:], "--out", "out"))
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("fault", ["bundle", "overlay", "id", "setting", "brackets"])
def test_training_refuses_them_too(fault, phantoms, heartseg, empty):
    words, said = WRONG[fault]
    assert said in only_error(heartseg("train", *words[:1], "--data", phantoms, *words[1:], "--out", "out"))
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("weights", "line"), [("nofile", "nofile: no such file; train first"), (".", ".: is a folder; give the file with")]
)
def test_training_refuses_wrong_weights_before_anything_is_read(weights, line, heartseg, empty):
    said = only_error(heartseg("train", "left_atrium", "--data", "nowhere", "--weights", weights, "--out", "out"))
    assert said.startswith(line)
    assert list(empty.iterdir()) == []


def test_an_empty_folder_of_scans_is_refused(heartseg, empty, tmp_path):
    (tmp_path / "none").mkdir()
    said = only_error(heartseg("segment", "left_atrium", tmp_path / "none", "--out", "out"))
    assert said == f"{tmp_path / 'none'}: holds no .nii or .nii.gz file; give a folder of scans, or a data set"


def test_a_mask_that_cannot_be_written_is_not_blamed_on_the_scan(scans, seeded_weights, heartseg, empty, monkeypatch):
    def refuse(image, path):
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))

    monkeypatch.setattr(nib, "save", refuse)
    status, _, err = heartseg("segment", "left_atrium", scans[0], "--weights", seeded_weights, *QUICK, "--out", "out")
    line = f"out/{Path(scans[0]).name}: cannot be written (Permission denied); use another output folder"
    assert status == 2 and line in err.replace("\n", "") and "viewer" not in err


@pytest.mark.parametrize("door", ["train", "evaluate"])
def test_missing_data_are_refused(door, seeded_weights, heartseg, empty):
    weights = ["--weights", seeded_weights]
    said = refused(heartseg(door, "left_atrium", "--data", "nowhere", *weights, "--out", "out"))
    assert said.startswith(str(empty / "nowhere"))
    assert list(empty.iterdir()) == []


def test_a_missing_scan_is_refused_before_others_are_segmented(scans, seeded_weights, heartseg, empty):
    said = only_error(
        heartseg("segment", "left_atrium", scans[0], "no.nii.gz", "--weights", seeded_weights, "--out", "out")
    )
    assert said.startswith("no.nii.gz: ")
    assert list(empty.iterdir()) == []


def test_an_unknown_split_is_refused(phantoms, seeded_weights, heartseg, empty):
    words = ["--data", phantoms, "--weights", seeded_weights, "--split", "tset", "--out", "out"]
    assert "split tset: unknown; give all, train" in refused(heartseg("evaluate", "left_atrium", *words))
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("held", ["model.pt", "checkpoint.pt", "training_metrics.json"])
def test_a_folder_with_files_not_of_a_run_is_not_touched(held, phantoms, heartseg, empty):
    (empty / "run").mkdir()
    (empty / "run" / held).write_bytes(b"weeks of work")
    before = tree(empty)
    said = refused(heartseg("train", "left_atrium", "--data", phantoms, "--out", "run"))
    assert said == f"{empty / 'run'}: holds {held} that no run of heartseg left there; use another output folder"
    assert tree(empty) == before and [path.name for path in empty.rglob("*")] == ["run", held]


def test_training_prints_the_equivalent_line(phantoms, heartseg, empty):
    (empty / "run").mkdir()
    (empty / "run" / "model.pt").touch()  # so that it prints the line and stops
    words = ["--data", phantoms, "--overlay", "quick", "--set", "seed=3", "--max-minutes", 1.5, "--out", "run"]
    _, _, err = heartseg("train", "left_atrium", *words)
    (line,) = [line for line in err.splitlines() if "python -m monai.bundle" in line]
    expected = (
        f"cd {BUNDLE} && python -m monai.bundle run training "
        "--config_file \"['configs/train.yaml','configs/quick.yaml']\" "
        f"--dataset_dir {phantoms} --output_dir {empty / 'run'} --max_minutes 1.5 --seed 3"
    )
    assert shlex.split(line) == shlex.split(expected)


def test_the_device_can_be_set(phantoms, seeded_weights, heartseg, tmp_path):
    words = [
        "segment",
        "left_atrium",
        phantoms / "imagesTs",
        "--weights",
        seeded_weights,
        *QUICK,
        "--set",
        "device=cpu",
    ]
    status, _, err = heartseg(*words, "--out", tmp_path)
    assert status == 0 and "device cpu" in err
