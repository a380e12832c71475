"""Every case under every condition: numbers, drop, files, and the headline severity of an artifact."""

import csv

import numpy as np
import pytest
from evaluations import case, evaluate, results
from ignite.engine import Engine

from heartseg.artifacts import list_conditions
from heartseg.data.files import write_json
from heartseg.handlers import CaseMetrics, RobustnessMetrics
from heartseg.handlers.robustness import drop_percent

ALL = list_conditions(["motion", "noise"])
HALF, WHOLE = ((3, 5), (4, 6)), ((2, 6), (2, 6))  # Dice 0.5 and 1
NONE = ((0, 0), (2, 6))
# Slices marked and true: Dice 0.8 = 2 * 4 / (6 + 4)
MOST = ((2, 8), (2, 6))


def under(conditions, clean, **masks):
    """Return a batch of one case under each condition, with masks by ``artifact_severity`` (else as clean)."""
    entries = []
    for condition in conditions:
        pair = masks.get(f"{condition.artifact}_{condition.severity}", clean)
        entries.append(case("a", *pair, artifact=condition.artifact, severity=condition.severity))
    return entries


def named(batch, identity):
    return [({**entry, "id": identity}, item) for entry, item in batch]


def run_all(folder, *batches, conditions=ALL, seed=0, **values):
    handler = RobustnessMetrics(folder, {"atrium": 1}, conditions, seed, **values)
    engine = evaluate(handler, *batches)
    return results(folder), engine


def test_numbers_by_hand(tmp_path):
    """Clean: 1 and 1. Motion, mild: 0.8 and 1, so 0.9, a drop of 10 %; severe: 0.5 and 1, so 0.75, 25 %."""
    one = under(ALL, WHOLE, motion_mild=MOST, motion_moderate=MOST, motion_severe=HALF)
    found, engine = run_all(tmp_path, one, named(under(ALL, WHOLE), "b"))
    assert list(found) == ["clean", "motion", "noise", "memory_gib", "provenance"]
    assert found["clean"]["dice"] == engine.state.metrics["mean_dice"] == 1
    motion = found["motion"]
    assert list(motion["severities"]) == ["mild", "moderate", "severe"]
    assert [part["dice"] for part in motion["severities"].values()] == pytest.approx([0.9, 0.9, 0.75])
    assert [part["drop_percent"] for part in motion["severities"].values()] == pytest.approx([10, 10, 25])
    severe = motion["severities"]["severe"]
    assert severe["strengths"] == {"degrees": 20, "translation": 10}
    assert severe["settings"] == {}
    assert [(row["id"], row["dice"]) for row in severe["cases"]] == [("a", 0.5), ("b", 1)]
    assert severe["classes"]["atrium"]["dice"] == 0.75
    assert severe["averaged_over"] == {"cases": 2, "seen": False}
    assert [part["drop_percent"] for part in found["noise"]["severities"].values()] == [0, 0, 0]


def test_moderate_represents_an_artifact(tmp_path):
    found, _ = run_all(tmp_path, under(ALL, WHOLE, motion_moderate=MOST, motion_severe=HALF))
    motion = dict(found["motion"])
    severities = motion.pop("severities")
    assert motion == severities["moderate"]
    assert (motion["severity"], motion["drop_percent"]) == ("moderate", pytest.approx(20))
    assert {"dice", "hd95", "assd", "nsd", "boundary_dice", "missing", "classes", "cases"} <= set(motion)


@pytest.mark.parametrize(("severity", "name"), [(7, "7"), ("severe", "severe")])
def test_a_single_severity_represents_it(tmp_path, severity, name):
    conditions = list_conditions(["motion"], severity)
    found, _ = run_all(tmp_path, under(conditions, WHOLE, **{f"motion_{name}": HALF}), conditions=conditions)
    assert list(found["motion"]["severities"]) == [found["motion"]["severity"]] == [name]
    assert (found["motion"]["dice"], found["motion"]["drop_percent"]) == (0.5, 50)


def test_clean_equals_a_plain_evaluation(tmp_path):
    batches = [under(ALL, HALF), named(under(ALL, WHOLE), "b")]
    found, _ = run_all(tmp_path / "robust", *batches)
    evaluate(CaseMetrics(tmp_path / "plain", {"atrium": 1}), *[batch[:1] for batch in batches])
    assert found["clean"] == results(tmp_path / "plain")["clean"]


def test_phases_under_every_condition(tmp_path):
    """The truths give them, with 4 and 2 slices. Motion halves the Dice of the second frame."""
    one = named(under(ALL, WHOLE), "p_frame01")
    other = named(under(ALL, ((4, 6), (4, 6)), motion_moderate=((3, 5), (4, 6))), "p_frame02")
    found, _ = run_all(tmp_path, one, other, phases="atrium", nominal_spacing=[1, 1, 1])
    assert {phase: part["dice"] for phase, part in found["clean"]["phases"].items()} == {"ED": 1, "ES": 1}
    for part in (found["motion"], found["motion"]["severities"]["moderate"]):
        assert {phase: means["dice"] for phase, means in part["phases"].items()} == {"ED": 1, "ES": 0.5}
        assert [(case["patient"], case["phase"]) for case in part["cases"]] == [("p", "ED"), ("p", "ES")]
        assert part["averaged_over"]["nominal"] == 2
    with open(tmp_path / "evaluation_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:7] == ["id", "seen", "patient", "phase", "nominal", "artifact", "severity"]
    assert {(row["id"], row["phase"]) for row in rows} == {("p_frame01", "ED"), ("p_frame02", "ES")}


def test_the_drop():
    assert drop_percent(0.8, 0.6) == pytest.approx(25)
    assert drop_percent(0.5, 0.6) == pytest.approx(-20)
    assert drop_percent(0.5, 0.0) == 100
    assert drop_percent(0.0, 0.5) is drop_percent(None, 0.5) is drop_percent(0.5, None) is None


def test_without_clean_masks_there_is_no_drop(tmp_path, capsys):
    found, _ = run_all(tmp_path, under(ALL, NONE))
    assert found["clean"]["dice"] == 0
    assert {part["drop_percent"] for part in found["noise"]["severities"].values()} == {None}
    assert (found["noise"]["hd95"], found["noise"]["missing"]) == (None, 3)
    assert "noise" in capsys.readouterr().out


def test_a_mask_lost_to_an_artifact_is_counted(tmp_path):
    found, _ = run_all(tmp_path, under(ALL, WHOLE, noise_moderate=NONE))
    noise = found["noise"]
    assert (noise["dice"], noise["hd95"], noise["missing"], noise["drop_percent"]) == (0, None, 3, 100)
    assert noise["severities"]["mild"]["missing"] == 0


def test_seen_cases_are_averaged_apart_under_every_condition(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["a"]})
    one, other = under(ALL, WHOLE), named(under(ALL, WHOLE, motion_moderate=HALF), "b")
    found, _ = run_all(tmp_path, one, other, weights=tmp_path / "model.pt")
    motion = found["motion"]
    assert (motion["dice"], motion["drop_percent"], motion["seen"]["dice"]) == (0.5, 50, 1)
    assert motion["averaged_over"] == {"cases": 1, "seen": False}


def test_the_csv_file(tmp_path):
    run_all(tmp_path, under(ALL, WHOLE, noise_severe=NONE))
    with open(tmp_path / "evaluation_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["id", "seen", "artifact", "severity", "class"]
    assert [(row["id"], row["artifact"], row["severity"], row["class"]) for row in rows] == [
        ("a", "clean", "", "atrium"),
        *(("a", name, level, "atrium") for name in ("motion", "noise") for level in ("mild", "moderate", "severe")),
    ]
    assert [row["dice"] for row in rows] == ["1.0"] * 6 + ["0.0"]
    assert [row["hd95"] for row in rows] == ["0.0"] * 6 + [""]


def test_provenance(tmp_path):
    found, _ = run_all(tmp_path, under(ALL, WHOLE), seed=7, tolerance=1.5, settings={"anatomy": "auto"})
    source = found["provenance"]
    assert (source["seed"], source["tolerance_mm"], source["anatomy"]) == (7, 1.5, "auto")


def test_settings_of_artifacts_are_written(tmp_path):
    knobs = {"motion": {"moves": np.int64(8), "degrees": 3}}
    conditions = list_conditions(["motion", "noise"], 10, knobs)
    knobs_of = {"artifacts": ("motion", "noise"), "severity": 10, "strengths": knobs}
    found, _ = run_all(tmp_path, under(conditions, WHOLE), conditions=conditions, settings=knobs_of)
    assert found["motion"]["settings"] == found["motion"]["severities"]["10"]["settings"] == {"moves": 8}
    assert found["noise"]["settings"] == {} and "settings" not in found["clean"]
    source = found["provenance"]
    assert (source["artifacts"], source["severity"]) == (["motion", "noise"], 10)
    assert source["strengths"] == {"motion": {"moves": 8, "degrees": 3}}


def test_the_printed_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    run_all(tmp_path, under(ALL, WHOLE, motion_moderate=MOST, motion_severe=HALF, noise_moderate=NONE))
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert ["clean", "1.0000", "1.0000", "1.0000", "", "0.00", ""] in rows
    assert ["motion", "1.0000", "0.8000", "0.5000", "20.0", "2.00", ""] in rows
    assert ["noise", "1.0000", "0.0000", "1.0000", "100.0", "-", "3"] in rows
    assert "Mean of 1 unseen case (distances in mm)" in text and "missing distances: moderate" in text


def test_a_second_evaluation_starts_afresh(tmp_path):
    handler = RobustnessMetrics(tmp_path, {"atrium": 1}, ALL, 0)
    evaluate(handler, under(ALL, WHOLE), epochs=2)
    assert [len(part["cases"]) for part in results(tmp_path)["motion"]["severities"].values()] == [1, 1, 1]


def test_an_evaluation_that_fails_writes_nothing(tmp_path):
    def step(engine, batch):
        engine.state.batch = [entry for entry, _ in batch]
        if engine.state.iteration == 3:
            raise RuntimeError("no memory")
        return [item for _, item in batch]

    engine = Engine(step)
    RobustnessMetrics(tmp_path, {"atrium": 1}, ALL, 0).attach(engine)
    with pytest.raises(RuntimeError, match="no memory"):
        engine.run([[pair] for pair in under(ALL, WHOLE)])
    assert list(tmp_path.iterdir()) == []
