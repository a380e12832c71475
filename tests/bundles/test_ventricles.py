"""ventricles from frames to masks and ejection fractions: on phantoms, through MONAI's own doors and heartseg's."""

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest
from evaluations import results, strict

from heartseg.config.bundles import find_bundle
from heartseg.data.files import sha256
from heartseg.metrics.clinical import MYOCARDIAL_DENSITY

BUNDLE = find_bundle("ventricles")
CLASSES = {"right_ventricle": 1, "myocardium": 2, "left_ventricle": 3}
# Of the four patients, by seed 42, fold 0 of 4.
UNSEEN, SEEN = ["phantom002"], ["phantom001", "phantom003", "phantom004"]
# Of the weights that the tests train.
SETTINGS = {"spacing": [4, 4], "input_size": [48, 48]}
GRID = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
MONAI = [word for name, value in SETTINGS.items() for word in (f"--{name}", value)]


def voxels(path):
    return np.asarray(nib.load(path).dataobj)


def millilitres(path):
    """Of each class, counted."""
    image = nib.load(path)
    voxel = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    return {name: (np.asarray(image.dataobj) == value).sum() * voxel for name, value in CLASSES.items()}


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["patient"]: row for row in csv.DictReader(file)}


def frames(patient):
    """End-diastole and end-systole, as Info.cfg names them."""
    lines = dict(line.split(": ") for line in (patient / "Info.cfg").read_text(encoding="utf-8").splitlines())
    return [patient / f"{patient.name}_frame{int(lines[phase]):02}.nii.gz" for phase in ("ED", "ES")]


def truth(frame):
    return frame.with_name(frame.name.replace(".nii", "_gt.nii"))


# Judging


@pytest.fixture(scope="module")
def evaluated(cines, learned_cines, monai_run, tmp_path_factory):
    """All frames judged with the learned weights, masks kept; through `python -m monai.bundle run`."""
    out = tmp_path_factory.mktemp("evaluated")
    words = ["--config_file", "['configs/inference.yaml','configs/evaluate.yaml']", "--dataset_dir", cines]
    words += ["--save_masks", True, "--pictures", 1, "--weights", learned_cines / "model.pt", "--output_dir", out]
    status, said = monai_run("ventricles", "evaluating", *words, *MONAI)
    assert status == 0, said[-3000:]
    return out


def test_each_frame_is_evaluated_on_the_mask_that_was_written(cines, learned_cines, evaluated):
    found = results(evaluated)
    clean, source = found["clean"], found["provenance"]
    assert source["weights"]["sha256"] == sha256(learned_cines / "model.pt")
    assert (source["spacing"], source["input_size"]) == (SETTINGS["spacing"], SETTINGS["input_size"])
    assert len(clean["cases"]) == 8
    for case in clean["cases"]:
        frame = cines / case["patient"] / f"{case['id']}.nii.gz"
        mask, label = voxels(evaluated / frame.name), voxels(truth(frame))
        assert nib.load(evaluated / frame.name).affine.tolist() == nib.load(frame).affine.tolist()
        for name, value in CLASSES.items():
            one, other = mask == value, label == value
            dice = 2 * (one & other).sum() / (one.sum() + other.sum())
            assert case["classes"][name]["dice"] == pytest.approx(dice, abs=1e-9)
        assert case["pred_fraction"] == pytest.approx((mask > 0).mean())
        assert case["truth_fraction"] == pytest.approx((label > 0).mean())
        assert case["seen"] == (case["patient"] in SEEN)
        assert case["phase"] == ("ED" if frame == frames(cines / case["patient"])[0] else "ES")
        assert case["group"] and case["nominal"] is False


def test_means_by_phase_and_by_class(evaluated):
    clean = results(evaluated)["clean"]
    assert clean["averaged_over"]["cases"] == 2 and clean["averaged_over"]["seen"] is False
    assert list(clean["classes"]) == list(CLASSES) and list(clean["phases"]) == ["ED", "ES"]
    unseen = [case for case in clean["cases"] if not case["seen"]]
    for phase, part in clean["phases"].items():
        (case,) = [case for case in unseen if case["phase"] == phase]  # one patient is unseen
        for metric in ("dice", "hd95", "assd", "nsd", "boundary_dice", "pred_fraction", "truth_fraction"):
            assert part[metric] == pytest.approx(case[metric])
        assert part["classes"]["myocardium"]["dice"] == pytest.approx(case["classes"]["myocardium"]["dice"])
    assert clean["dice"] == pytest.approx(np.mean([case["dice"] for case in unseen]))
    assert 0 < clean["truth_fraction"] < 0.2 and 0 < clean["pred_fraction"] < 0.5


def test_a_row_for_each_patient(cines, evaluated):
    rows = table(evaluated / "clinical.csv")
    assert list(rows) == sorted(SEEN + UNSEEN)
    for name, row in rows.items():
        ends = frames(cines / name)
        for side, files in (("truth", map(truth, ends)), ("pred", (evaluated / path.name for path in ends))):
            diastole, systole = map(millilitres, files)
            for chamber, label in (("lv", "left_ventricle"), ("rv", "right_ventricle")):
                edv, esv = diastole[label], systole[label]
                assert float(row[f"{chamber}_edv_ml_{side}"]) == pytest.approx(edv, abs=2e-3)
                assert float(row[f"{chamber}_esv_ml_{side}"]) == pytest.approx(esv, abs=2e-3)
                assert float(row[f"{chamber}_ef_percent_{side}"]) == pytest.approx(100 * (1 - esv / edv), abs=1e-2)
            mass = MYOCARDIAL_DENSITY * diastole["myocardium"]
            assert float(row[f"lv_mass_g_{side}"]) == pytest.approx(mass, abs=3e-3)
        assert (row["phases_by"], row["nominal"], row["seen"]) == ("Info.cfg", "no", "yes" if name in SEEN else "no")
        assert float(row["lv_edv_ml_error"]) == pytest.approx(
            float(row["lv_edv_ml_pred"]) - float(row["lv_edv_ml_truth"]), abs=2e-3
        )
    report = strict(evaluated / "clinical.json")
    assert report["averaged_over"]["patients"] == 1 and len(report["patients"]) == 4
    for picture in (evaluated / "bland_altman.png", *(evaluated / "pictures").iterdir()):
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(list((evaluated / "pictures").iterdir())) == 1


def test_the_same_frames_in_decathlon_layout(cines, learned_cines, evaluated, heartseg, tmp_path):
    """Without the phase of each frame the masks are the same, and so is the truth's ejection fraction."""
    data, out = tmp_path / "data", tmp_path / "out"
    for part in ("imagesTr", "labelsTr"):
        (data / part).mkdir(parents=True)
    for frame in (path for patient in cines.glob("phantom0*") for path in frames(patient)):
        shutil.copy(frame, data / "imagesTr" / frame.name)
        shutil.copy(truth(frame), data / "labelsTr" / frame.name)
    words = ["--data", data, "--weights", learned_cines / "model.pt", *GRID, "--out", out]
    status, said, err = heartseg("evaluate", "ventricles", *words, "--set", "save_masks=true", "--set", "pictures=0")
    assert status == 0, err[-2000:]
    assert all(name in said for name in ("ED", "ES", *CLASSES))
    masks = sorted(path.name for path in out.glob("*.nii.gz"))
    assert len(masks) == 8
    assert all(voxels(out / name).tobytes() == voxels(evaluated / name).tobytes() for name in masks)
    expected, found = table(evaluated / "clinical.csv"), table(out / "clinical.csv")
    assert list(found) == list(expected)
    for name, row in found.items():
        assert row["phases_by"] == "larger left ventricle" and row["group"] == ""
        for column in (column for column in row if column.endswith("_truth")):
            assert row[column] == expected[name][column]
    assert results(out)["clean"]["phases"]["ED"]["dice"] == results(evaluated)["clean"]["phases"]["ED"]["dice"]


# Segmenting


@pytest.fixture
def segment(learned_cines, heartseg):
    """``heartseg segment`` with the weights that the tests trained: what it said."""

    def call(*words):
        status, said, err = heartseg("segment", "ventricles", *words, "--weights", learned_cines / "model.pt", *GRID)
        assert status == 0, err[-2000:]
        return said

    return call


def test_a_patient_by_every_door(cines, learned_cines, evaluated, segment, monai_run, tmp_path):
    patient, out = cines / "phantom003", tmp_path / "cli"
    said = segment(patient, "--out", out)
    ends = [out / path.name for path in frames(patient)]
    expected = ["clinical.csv", *(path.name for path in ends), "segmentation.json"]
    assert sorted(path.name for path in out.iterdir()) == expected
    diastole, systole = map(millilitres, ends)
    (line,) = [line for line in said.splitlines() if line.startswith("phantom003: ")]
    for chamber, label in (("LV", "left_ventricle"), ("RV", "right_ventricle")):
        edv, esv = diastole[label], systole[label]
        assert f"{chamber} EDV {edv:.1f} mL, ESV {esv:.1f} mL, EF {100 * (1 - esv / edv):.1f} %; " in line
    assert line.endswith(f"; myocardium {MYOCARDIAL_DENSITY * diastole['myocardium']:.0f} g")
    row, judged = (table(folder / "clinical.csv")["phantom003"] for folder in (out, evaluated))
    assert (row["ed"], row["es"]) == tuple(path.name.removesuffix(".nii.gz") for path in ends)
    assert (row["phases_by"], row["nominal"]) == ("Info.cfg", "no")
    for measure in ("lv_ef_percent", "rv_ef_percent", "lv_mass_g"):
        assert float(row[measure]) == pytest.approx(float(judged[f"{measure}_pred"]), abs=2e-3)

    words = ["--inputs", f"['{patient}']", "--output_dir", tmp_path / "monai", "--weights", learned_cines / "model.pt"]
    words += ["--config_file", "configs/inference.yaml", *MONAI]
    status, said = monai_run("ventricles", "inference", *words)
    assert status == 0, said[-2000:]
    assert len(list((tmp_path / "monai").iterdir())) == 2
    for path in ends:
        assert (tmp_path / "monai" / path.name).read_bytes() == path.read_bytes()
        assert voxels(path).tobytes() == voxels(evaluated / path.name).tobytes()


def test_one_frame_alone_has_volumes_and_a_made_up_header_says_so(cines, segment, tmp_path):
    path = tmp_path / "phantom009_frame01.nii.gz"
    nib.save(nib.Nifti1Image(voxels(frames(cines / "phantom001")[0]), np.diag([1.5625, 1.5625, 10.0, 1.0])), path)
    first, second, *_ = segment(path, "--out", tmp_path / "out").splitlines()
    found = millilitres(tmp_path / "out" / path.name)
    assert first.startswith(f"{tmp_path / 'out' / path.name}: right_ventricle {found['right_ventricle']:.1f} mL")
    assert "(nominal spacing)" in first
    assert second.startswith("phantom009: no ejection fraction without both end-diastole and end-systole")
    row = table(tmp_path / "out" / "clinical.csv")["phantom009"]
    assert (row["frames"], row["lv_ef_percent"], row["nominal"]) == ("1", "", "yes")
    assert float(row["myocardium_ml"]) == pytest.approx(found["myocardium"], abs=2e-3)
