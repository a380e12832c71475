"""Frames of a beating heart: which is end-diastole, means of each phase, and spacing that is nominal."""

import csv

import pytest
from evaluations import case, evaluate, results

from heartseg.data.files import write_json
from heartseg.errors import InputError
from heartseg.handlers import CaseMetrics

CLASSES = {"left_ventricle": 1, "wall": 2}
BEAT = [
    case("p1_frame01", (3, 5), (4, 6)),  # Dice 0.5; the smaller truth, so end-systole
    case("p1_frame02", (0, 4), (0, 4)),
    case("p2_frame01", (2, 8), (2, 6)),  # Dice 0.8
    case("p2_frame02", (1, 2), (1, 2)),
    case("p3_frame01", (0, 2), (0, 2)),  # alone
]


def test_the_larger_truth_of_a_patient_s_two_is_end_diastole(tmp_path):
    evaluate(CaseMetrics(tmp_path, CLASSES, phases="left_ventricle"), BEAT)
    clean = results(tmp_path)["clean"]
    found = [(one["id"], one["patient"], one["phase"]) for one in clean["cases"]]
    assert found == [
        ("p1_frame01", "p1", "ES"),
        ("p1_frame02", "p1", "ED"),
        ("p2_frame01", "p2", "ED"),
        ("p2_frame02", "p2", "ES"),
        ("p3_frame01", "p3", None),
    ]
    assert not any("group" in one or "nominal" in one for one in clean["cases"])
    ed, es = clean["phases"]["ED"], clean["phases"]["ES"]
    assert list(clean["phases"]) == ["ED", "ES"]
    assert (ed["classes"]["left_ventricle"]["dice"], es["classes"]["left_ventricle"]["dice"]) == (0.9, 0.75)
    assert (ed["dice"], es["dice"]) == (0.95, 0.875)  # the wall is absent from both, which counts as 1
    assert (ed["hd"], es["hd"]) == (0.5, 0.25)  # of the ventricles 2 and 0 mm, 1 and 0 mm
    keys = {"dice", "hd95", "assd", "nsd", "boundary_dice", "missing", "classes"}
    assert keys <= ed.keys() == es.keys() and "cases" not in ed


def test_given_phases_and_the_group(tmp_path):
    told = [
        case("p1_frame01", (3, 5), (4, 6), patient="one", phase="ED", group="DCM"),
        case("p1_frame02", (0, 4), (0, 4), patient="one", phase="ES", group="DCM"),
        case("p1_frame03", (0, 9), (0, 9), patient="one", group="DCM"),
    ]
    evaluate(CaseMetrics(tmp_path, CLASSES, phases="left_ventricle"), told)
    clean = results(tmp_path)["clean"]
    assert [(one["patient"], one["phase"], one["group"]) for one in clean["cases"]] == [
        ("one", "ED", "DCM"),
        ("one", "ES", "DCM"),
        ("one", None, "DCM"),
    ]
    assert clean["phases"]["ED"]["classes"]["left_ventricle"]["dice"] == 0.5


def test_phases_are_those_of_the_unseen(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["p1_frame01", "p1_frame02"]})
    evaluate(CaseMetrics(tmp_path, CLASSES, tmp_path / "model.pt", phases="left_ventricle"), BEAT)
    clean = results(tmp_path)["clean"]
    found = {phase: part["classes"]["left_ventricle"]["dice"] for phase, part in clean["phases"].items()}
    assert found == {"ED": 0.8, "ES": 1}


def test_a_phase_without_cases_is_null(tmp_path):
    evaluate(CaseMetrics(tmp_path, CLASSES, phases="left_ventricle"), BEAT[-1:])
    phases = results(tmp_path)["clean"]["phases"]
    assert phases["ED"] == phases["ES"]
    assert (phases["ED"]["dice"], phases["ED"]["missing"], phases["ED"]["classes"]) == (None, 0, {})


def test_the_class_of_the_phases_has_to_be_one(tmp_path):
    with pytest.raises(InputError, match="^phases: 'ventricle' is not a class; there are: left_ventricle, wall$"):
        CaseMetrics(tmp_path, CLASSES, phases="ventricle")


def test_spacing_that_is_nominal_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    made_up, true = (1.5, 1.5, 10.0), (1.4, 1.4, 8.0)
    batch = [case("a", (3, 5), (4, 6), made_up), case("b", (3, 5), (4, 6), true)]
    evaluate(CaseMetrics(tmp_path, CLASSES, nominal_spacing=made_up), batch)
    clean = results(tmp_path)["clean"]
    assert [one["nominal"] for one in clean["cases"]] == [True, False]
    assert clean["averaged_over"] == {"cases": 2, "seen": False, "nominal": 1}
    assert "mm and mL of 1 of 2 cases are nominal: the true voxel size is lost" in capsys.readouterr().out
    with open(tmp_path / "evaluation_results.csv", newline="", encoding="utf-8") as file:
        assert [row["nominal"] for row in csv.DictReader(file)] == ["True", "True", "False", "False"]
    evaluate(CaseMetrics(tmp_path, CLASSES, nominal_spacing=[9, 9, 9]), batch)
    assert "nominal" not in capsys.readouterr().out


def test_the_table_for_other_programs_names_patient_and_phase(tmp_path):
    evaluate(CaseMetrics(tmp_path, CLASSES, phases="left_ventricle"), BEAT)
    with open(tmp_path / "evaluation_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["id", "seen", "patient", "phase", "class"]
    assert [(row["patient"], row["phase"]) for row in rows[::2]] == [
        ("p1", "ES"),
        ("p1", "ED"),
        ("p2", "ED"),
        ("p2", "ES"),
        ("p3", ""),
    ]


def test_a_printed_table_has_lines_of_phases_and_classes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    evaluate(CaseMetrics(tmp_path, CLASSES, phases="left_ventricle"), BEAT)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["p1_frame01", "ES", "", "0.7500", "0.50", "0.25", "1.0000", "0.1", "0.1"] in rows
    names = [row[0] for row in rows if row]
    assert names[5:] == ["mean of 5 unseen", *CLASSES, "of these at ED", *CLASSES, "of these at ES", *CLASSES]
    own = [row for row in rows if row and row[0] == "left_ventricle"]
    # HD95 of 0 and 2 mm. ASSD of 0 and 208 / 424: of the longer mask's surface 28 voxels lie 1 mm and 64 2 mm off,
    # of the shorter one's last slice 20 voxels 1 mm and 16 2 mm.
    # 6 + 4 and 4 + 4 of 64 voxels of 1 mm^3 each: mean volumes of 0.32 and 0.256 mL at end-diastole
    assert own[1] == ["left_ventricle", "", "", "0.9000", "1.00", "0.25", "1.0000", "0.3", "0.3"]


def test_names_of_frames_are_whole_in_80_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    batch = [case("patient101_frame01", (0, 4), (0, 4)), case("patient101_frame12", (0, 0), (0, 2))]
    evaluate(CaseMetrics(tmp_path, CLASSES, phases="left_ventricle"), batch)
    said = capsys.readouterr().out
    assert "patient101_frame01" in said and "patient101_frame12" in said and "…" not in said


def test_every_frame_of_a_patient_that_trained_is_seen(tmp_path):
    """Frames may have other names in a copy of the data set: p1_frame12 is of a patient whose frame02 trained."""
    (tmp_path / "model.pt").touch()
    write_json(tmp_path / "model.json", {"train": ["p1_frame01", "p1_frame02"]})
    frames = [case("p1_frame12", (0, 4), (0, 4)), case("p2_frame02", (0, 4), (0, 4))]
    evaluate(CaseMetrics(tmp_path, CLASSES, weights=tmp_path / "model.pt"), frames)
    assert [one["seen"] for one in results(tmp_path)["clean"]["cases"]] == [True, False]
