"""Patients of an evaluation: volumes, ejection fractions, errors, agreement, and nominal units."""

import csv

import matplotlib.image
import pytest
import torch
from evaluations import evaluate, strict
from matplotlib.colors import same_color, to_rgba
from monai.data import MetaTensor

from heartseg.artifacts import list_conditions
from heartseg.data.files import write_json
from heartseg.errors import InputError
from heartseg.handlers import CaseMetrics, ClinicalReport, RobustnessMetrics
from heartseg.report.bland_altman import draw_bland_altman
from heartseg.report.figures import BLUE

CLASSES = {"crescent": 1, "wall": 2, "cavity": 3}
VENTRICLES = {"left": "cavity", "right": "crescent", "myocardium": "wall"}
SIZE = (10.0, 10.0, 10.0)  # mm: a voxel is a mL


def heart(crescent, wall, cavity, spacing=SIZE):
    """Return a label map with these numbers of voxels of each class."""
    labels = torch.repeat_interleave(
        torch.arange(4), torch.tensor([640 - crescent - wall - cavity, crescent, wall, cavity])
    )
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    return MetaTensor(labels.reshape(1, 10, 8, 8).float(), affine=affine)


def frame(identity, pred, truth, spacing=SIZE, **entry):
    return {"id": identity, **entry}, {"pred": heart(*pred, spacing), "label": heart(*truth, spacing)}


def report(folder, batch, nominal=None, weights=None):
    handlers = [CaseMetrics(folder, CLASSES, weights), ClinicalReport(folder, VENTRICLES, nominal)]
    evaluate(handlers, batch)
    return strict(folder / "clinical.json")


def table(folder):
    with open(folder / "clinical.csv", newline="", encoding="utf-8") as file:
        return {row["patient"]: row for row in csv.DictReader(file)}


# Truth: LV 150 and 60 mL, 60 %; RV 160 and 80, 50 %; wall 100 mL. Masks: LV 160 and 80, 50 %; RV 150 and 90, 40 %;
# wall 120.
ONE = [
    frame("a_frame01", (150, 120, 160), (160, 100, 150)),
    frame("a_frame02", (90, 120, 80), (80, 100, 60)),
]
# Truth: LV 100 and 50 mL, 50 %. Masks: 100 and 40, 60 %.
OTHER = [
    frame("b_frame01", (50, 60, 100), (50, 60, 100)),
    frame("b_frame02", (50, 60, 40), (50, 60, 50)),
]


def test_numbers_by_hand(tmp_path):
    found = report(tmp_path, ONE)
    [row] = found["patients"]
    expected = {
        "lv_edv_ml": (160, 150, 10),
        "lv_esv_ml": (80, 60, 20),
        "lv_sv_ml": (80, 90, -10),
        "lv_ef_percent": (50, 60, -10),
        "rv_edv_ml": (150, 160, -10),
        "rv_esv_ml": (90, 80, 10),
        "rv_sv_ml": (60, 80, -20),
        "rv_ef_percent": (40, 50, -10),
        "lv_mass_g": (126, 105, 21),
    }
    for name, values in expected.items():
        assert tuple(row[f"{name}_{suffix}"] for suffix in ("pred", "truth", "error")) == values
    about = {key: row[key] for key in ("patient", "group", "frames", "seen", "nominal", "phases_by")}
    assert about == {
        "patient": "a",
        "group": None,
        "frames": 2,
        "seen": False,
        "nominal": False,
        "phases_by": "larger left ventricle",
    }
    assert [row[f"{end}_{side}"] for end in ("ed", "es") for side in ("pred", "truth")] == [
        "a_frame01",
        "a_frame01",
        "a_frame02",
        "a_frame02",
    ]
    assert found["myocardial_density_g_per_ml"] == 1.05


def test_agreement_and_provenance(tmp_path):
    """Errors of the EF: -10 and 10 %; of the end-diastolic volume: 10 and 0 mL."""
    found = report(tmp_path, [*ONE, *OTHER])
    assert found["averaged_over"] == {"which": "unseen", "patients": 2, "seen": False, "nominal": 0}
    assert found["agreement"]["unseen"] == found["agreement"]["all"]
    fraction = found["agreement"]["all"]["lv_ef_percent"]
    assert (fraction["unit"], fraction["n"], fraction["bias"], fraction["mae"]) == ("%", 2, 0, 10)
    assert fraction["sd"] == pytest.approx(200**0.5) and fraction["upper"] == pytest.approx(1.96 * 200**0.5)
    volume = found["agreement"]["all"]["lv_edv_ml"]
    assert (volume["unit"], volume["bias"], volume["r"]) == ("mL", 5, None)
    assert found["agreement"]["all"]["lv_mass_g"]["unit"] == "g"
    evaluation = strict(tmp_path / "evaluation_results.json")["provenance"]
    assert found["provenance"] == {**evaluation, "parts": VENTRICLES, "nominal_spacing": None}


def test_the_masks_choose_their_own_frames(tmp_path):
    """In the masks the second frame is the larger one, as without truths."""
    batch = [frame("a_frame01", (9, 9, 50), (9, 9, 100)), frame("a_frame02", (9, 9, 80), (9, 9, 40))]
    [row] = report(tmp_path, batch)["patients"]
    assert (row["ed_pred"], row["ed_truth"]) == ("a_frame02", "a_frame01")
    assert (row["lv_edv_ml_pred"], row["lv_esv_ml_pred"], row["lv_edv_ml_truth"]) == (80, 50, 100)


def test_given_phases_apply_to_masks_and_truths(tmp_path):
    given = [
        frame("a_frame01", (9, 9, 50), (9, 9, 100), patient="p", phase="ED", group="DCM"),
        frame("a_frame12", (9, 9, 80), (9, 9, 40), patient="p", phase="ES", group="DCM"),
    ]
    [row] = report(tmp_path, given)["patients"]
    assert (row["patient"], row["group"], row["phases_by"]) == ("p", "DCM", "Info.cfg")
    assert (row["ed_pred"], row["ed_truth"]) == ("a_frame01", "a_frame01")
    assert (row["lv_ef_percent_pred"], row["lv_ef_percent_truth"]) == (-60, 60)


def test_a_patient_with_one_frame_has_a_row_but_is_not_in_the_agreement(tmp_path):
    found = report(tmp_path, [*ONE, OTHER[0]])
    alone = found["patients"][1]
    assert (alone["patient"], alone["frames"], alone["lv_ef_percent_pred"], alone["phases_by"]) == ("b", 1, None, None)
    assert found["agreement"]["all"]["lv_ef_percent"]["n"] == 1
    assert table(tmp_path)["b"]["lv_ef_percent_error"] == ""


def test_the_csv_file(tmp_path):
    report(tmp_path, [*ONE, *OTHER], nominal=SIZE)
    rows = table(tmp_path)
    assert list(rows["a"])[:6] == ["patient", "group", "frames", "seen", "nominal", "phases_by"]
    assert list(rows["a"])[6:13] == ["ed_pred", "ed_truth", "es_pred", "es_truth"] + [
        f"lv_edv_ml_{suffix}" for suffix in ("pred", "truth", "error")
    ]
    assert list(rows["a"])[-3:] == [f"lv_mass_g_{suffix}" for suffix in ("pred", "truth", "error")]
    assert (rows["a"]["seen"], rows["a"]["nominal"], rows["a"]["group"]) == ("no", "yes", "")
    assert (rows["a"]["lv_ef_percent_error"], rows["b"]["lv_ef_percent_error"]) == ("-10.0", "10.0")


def test_seen_patients_are_reported_apart(tmp_path, capsys):
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["a_frame02"]})
    found = report(tmp_path, [*ONE, *OTHER], weights=tmp_path / "model.pt")
    assert [row["seen"] for row in found["patients"]] == [True, False]
    assert found["agreement"]["unseen"]["lv_ef_percent"]["bias"] == 10
    assert found["agreement"]["all"]["lv_ef_percent"]["bias"] == 0
    assert "Masks against truths of 1 unseen patient" in capsys.readouterr().out
    write_json(tmp_path / "model.json", {"train": ["a_frame01", "a_frame02", "b_frame01", "b_frame02"]})
    found = report(tmp_path, [*ONE, *OTHER], weights=tmp_path / "model.pt")
    assert found["averaged_over"] == {"which": "all", "patients": 2, "seen": True, "nominal": 0}
    assert found["agreement"]["unseen"]["lv_ef_percent"]["n"] == 0


def test_seen_may_be_unknown(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    found = report(tmp_path, ONE, weights=tmp_path / "model.pt")
    assert found["patients"][0]["seen"] is found["averaged_over"]["seen"] is None
    assert table(tmp_path)["a"]["seen"] == ""


def test_nominal_spacing_is_marked_everywhere(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    true = [frame(entry["id"].replace("a_", "c_"), (9, 9, 50), (9, 9, 50), (9.0, 9.0, 9.0)) for entry, _ in ONE]
    found = report(tmp_path, [*ONE, *true], nominal=SIZE)
    assert [row["nominal"] for row in found["patients"]] == [True, False]
    assert found["provenance"]["nominal_spacing"] == list(SIZE)
    units = {measure: part["unit"] for measure, part in found["agreement"]["all"].items()}
    assert (units["lv_esv_ml"], units["lv_mass_g"], units["lv_ef_percent"]) == (
        "mL (partly nominal)",
        "g (partly nominal)",
        "%",
    )
    found = report(tmp_path, ONE, nominal=SIZE)
    assert found["agreement"]["all"]["lv_edv_ml"]["unit"] == "mL (nominal)"
    text = capsys.readouterr().out
    assert "LV EDV, mL (nominal)" in text and "LV mass, g (nominal)" in text and "LV EF, %" in text
    labels = [axes.get_ylabel() for axes in draw_bland_altman(found).axes]
    assert labels == ["mask - truth, %"] * 2 + ["mask - truth, mL (nominal)", "mask - truth, g (nominal)"]


def test_the_printed_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    report(tmp_path, [*ONE, *OTHER])
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["LV EF, %", "2", "-", "+0.0", "-27.7 to +27.7", "10.0"] in rows
    assert ["LV EDV, mL", "2", "-", "+5.0", "-8.9 to +18.9", "5.0"] in rows
    report(tmp_path, ONE[:1])
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["LV EF, %", "0", "-", "-", "-", "-"] in rows


def test_difference_against_mean(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["c_frame01"]})
    third = [frame(entry["id"].replace("a_", "c_"), *map(counts, item.values())) for entry, item in ONE]
    found = report(tmp_path, [*ONE, *OTHER, *third], weights=tmp_path / "model.pt")
    figure = draw_bland_altman(found)
    assert [axes.get_title() for axes in figure.axes] == [
        "LV EF, n = 2",
        "RV EF, n = 2",
        "LV EDV, n = 2",
        "LV mass, n = 2",
    ]
    lines = figure.axes[0].lines
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if line.get_marker() == "o"]
    assert points == [(55, -10), (55, 10), (55, -10)]
    hollow = [line.get_markerfacecolor() == "none" for line in lines if line.get_marker() == "o"]
    assert hollow == [False, False, True]
    assert same_color(lines[0].get_color(), BLUE)
    levels = [line.get_ydata()[0] for line in lines if line.get_marker() != "o"]
    assert levels == pytest.approx([0, 0, -27.719, 27.719], abs=1e-3)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["unseen patient", "seen in training", "bias", "limits of agreement"]


def counts(labels):
    return [int((labels == value).sum()) for value in (1, 2, 3)]


def test_without_pairs_the_panels_are_empty(tmp_path):
    figure = draw_bland_altman(report(tmp_path, ONE[:1]))
    assert [len(axes.lines) for axes in figure.axes] == [1] * 4  # the line of no difference


def test_a_picture_is_written(tmp_path):
    report(tmp_path, [*ONE, *OTHER])
    picture = matplotlib.image.imread(tmp_path / "bland_altman.png")
    assert picture.shape[1] > 1000
    blue = (abs(picture[..., :3] - to_rgba(BLUE)[:3]) < 0.01).all(axis=-1)
    assert blue.sum() > 100
    assert {path.name for path in tmp_path.iterdir()} == {
        "bland_altman.png",
        "clinical.csv",
        "clinical.json",
        "evaluation_results.csv",
        "evaluation_results.json",
    }


def test_with_artifacts_the_clean_cases_are_used(tmp_path):
    conditions = list_conditions(["noise"], "mild")
    batch = [
        ({**entry, "artifact": condition.artifact, "severity": condition.severity}, item)
        for entry, clean in ONE
        for condition in conditions
        for item in [clean if condition.artifact == "clean" else {"pred": heart(9, 9, 9), "label": clean["label"]}]
    ]
    evaluate([RobustnessMetrics(tmp_path, CLASSES, conditions, 0), ClinicalReport(tmp_path, VENTRICLES)], batch)
    [row] = strict(tmp_path / "clinical.json")["patients"]
    assert (row["frames"], row["lv_ef_percent_pred"]) == (2, 50)


def test_unknown_class(tmp_path):
    handler = ClinicalReport(tmp_path, {**VENTRICLES, "left": "ventricle"})
    with pytest.raises(InputError, match="^parts: left: 'ventricle' is not a class; there are: crescent, wall"):
        evaluate([CaseMetrics(tmp_path, CLASSES), handler], ONE)
