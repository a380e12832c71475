"""Every case on its own grid: the numbers, the files, what was seen in training and what is missing."""

import csv
import hashlib

import pytest
import torch
from evaluations import case, evaluate, results
from ignite.engine import Engine, Events

import heartseg
from heartseg.data.files import write_json
from heartseg.errors import InputError
from heartseg.handlers import CaseMetrics


def test_numbers_by_hand(tmp_path):
    handler = CaseMetrics(tmp_path / "eval", {"atrium": 1})
    engine = evaluate(handler, [case("a", (2, 6), (2, 6)), case("b", (3, 5), (4, 6))], [case("c", (0, 8), (0, 2))])
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == [
        "evaluation_results.csv",
        "evaluation_results.json",
    ]
    clean = results(tmp_path / "eval")["clean"]
    assert [(one["id"], one["seen"], one["dice"]) for one in clean["cases"]] == [
        ("a", False, 1),
        ("b", False, 0.5),
        ("c", False, 0.4),
    ]
    assert [one["hd"] for one in clean["cases"]] == [0, 1, 6]
    assert clean["dice"] == pytest.approx(1.9 / 3)
    assert clean["hd"] == pytest.approx(7 / 3)
    assert clean["missing"] == 0
    assert clean["averaged_over"] == {"cases": 3, "seen": False}
    assert "seen" not in clean
    assert engine.state.metrics["mean_dice"] == clean["dice"]
    atrium = clean["classes"]["atrium"]
    assert atrium["dice"] == clean["dice"]
    assert atrium["pred_ml"] == pytest.approx(0.064 * (4 + 2 + 8) / 3, abs=1e-3)
    assert atrium["truth_ml"] == pytest.approx(0.064 * (4 + 2 + 2) / 3, abs=1e-3)


def test_shares_of_foreground(tmp_path):
    """Slices of 10 that are marked and true, and their means; those of the seen stand apart."""
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["c"]})
    batch = [case("a", (2, 6), (2, 5)), case("b", (0, 0), (4, 5)), case("c", (0, 10), (0, 10))]
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}, tmp_path / "model.pt"), batch)
    clean = results(tmp_path)["clean"]
    assert [(one["pred_fraction"], one["truth_fraction"]) for one in clean["cases"]] == [(0.4, 0.3), (0, 0.1), (1, 1)]
    assert (clean["pred_fraction"], clean["truth_fraction"]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert clean["seen"]["pred_fraction"] == 1


def test_memory_stands_beside_the_results(tmp_path):
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}), [case("a", (2, 6), (2, 6))])
    found = results(tmp_path)["memory_gib"]
    assert found.keys() == {"now", "peak"}
    assert 0.01 < found["now"]["process"] < 2 * found["peak"]["process"] < 1000
    assert {tuple(part) for part in found.values()} == {("process",)}  # of an engine on a CPU


def test_every_case_has_its_own_spacing(tmp_path):
    """The same voxels at 1 mm and at 3 mm along the axis of the error."""
    pair = ((3, 5), (4, 6))
    batch = [case("fine", *pair), case("coarse", *pair, spacing=(3.0, 1.0, 1.0))]
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}, tolerance=2), batch)
    fine, coarse = results(tmp_path)["clean"]["cases"]
    assert (fine["hd"], fine["hd95"], fine["assd"], fine["nsd"]) == (1, 1, 0.5, 1)
    assert (coarse["hd"], coarse["hd95"], coarse["assd"], coarse["nsd"]) == (3, 3, 1.5, 0.5)
    assert fine["dice"] == coarse["dice"] == 0.5
    assert coarse["classes"]["atrium"]["truth_ml"] == pytest.approx(3 * fine["classes"]["atrium"]["truth_ml"])


def test_the_spacing_of_an_oblique_affine(tmp_path):
    """Rotated by 30 degrees about the third axis and stored left-handed: the voxel is still 2 x 1 x 1 mm."""
    turn = torch.tensor([[0.75**0.5, -0.5, 0], [0.5, 0.75**0.5, 0], [0, 0, 1]], dtype=torch.float64)
    entry, item = case("a", (3, 5), (4, 6))
    for image in item.values():
        image.affine = torch.eye(4, dtype=torch.float64)
        image.affine[:3, :3] = turn @ torch.diag(torch.tensor([-2.0, 1, 1], dtype=torch.float64))
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}), [(entry, item)])
    assert results(tmp_path)["clean"]["hd"] == pytest.approx(2, abs=1e-5)


def test_seen_cases_are_averaged_apart(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["a", "b"], "val": ["c"]})
    batch = [case("a", (2, 6), (2, 6)), case("b", (2, 6), (2, 6)), case("c", (3, 5), (4, 6)), case("d", (0, 8), (0, 2))]
    engine = evaluate(CaseMetrics(tmp_path, {"atrium": 1}, weights=tmp_path / "model.pt"), batch)
    clean = results(tmp_path)["clean"]
    assert [one["seen"] for one in clean["cases"]] == [True, True, False, False]
    assert clean["averaged_over"] == {"cases": 2, "seen": False}
    assert clean["dice"] == pytest.approx(0.45) == engine.state.metrics["mean_dice"]
    assert clean["classes"]["atrium"]["dice"] == pytest.approx(0.45)
    assert clean["seen"]["dice"] == 1
    assert clean["seen"]["classes"]["atrium"]["hd"] == 0


def test_where_all_were_seen_the_means_say_so(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["a"]})
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}, weights=tmp_path / "model.pt"), [case("a", (3, 5), (4, 6))])
    clean = results(tmp_path)["clean"]
    assert (clean["dice"], clean["averaged_over"]) == (0.5, {"cases": 1, "seen": True})
    assert "seen" not in clean


def test_a_missing_mask_is_null_and_counted(tmp_path):
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}), [case("a", (0, 0), (2, 6)), case("b", (3, 5), (4, 6))])
    clean = results(tmp_path)["clean"]
    lost = clean["cases"][0]
    assert (lost["dice"], lost["nsd"], lost["hd"], lost["hd95"], lost["assd"]) == (0, 0, None, None, None)
    assert (lost["missing"], clean["missing"]) == (3, 3)
    assert clean["dice"] == 0.25  # the loss counts
    assert clean["hd"] == 1  # the mean of the one distance that there is


def test_where_nothing_is_found_the_means_are_null(tmp_path, capsys):
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}), [case("a", (0, 0), (2, 6))])
    clean = results(tmp_path)["clean"]
    assert (clean["hd"], clean["hd95"], clean["assd"], clean["dice"]) == (None, None, None, 0)
    assert "missing" in capsys.readouterr().out


def test_labels_above_255_are_distinguished(tmp_path):
    """Whole-heart data sets use label values such as 500 and 420."""
    batch = [case("a", (3, 5, 500), (4, 6, 500))]
    evaluate(CaseMetrics(tmp_path, {"ventricle": 500, "other": 500 - 256}), batch)
    classes = results(tmp_path)["clean"]["classes"]
    assert (classes["ventricle"]["dice"], classes["ventricle"]["truth_ml"]) == (0.5, 0.128)
    assert classes["other"]["truth_ml"] == 0


def test_the_table_for_other_programs(tmp_path):
    batch = [case("a, b", (3, 5), (4, 6), (2.0, 1.0, 1.0)), case("c", (0, 0), (2, 6))]
    evaluate(CaseMetrics(tmp_path, {"atrium": 1, "wall": 2}), batch)
    with open(tmp_path / "evaluation_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["seen"], row["class"]) for row in rows] == [
        ("a, b", "False", "atrium"),
        ("a, b", "False", "wall"),
        ("c", "False", "atrium"),
        ("c", "False", "wall"),
    ]
    columns = ["dice", "hd95", "hd", "assd", "nsd", "boundary_dice", "pred_ml", "truth_ml"]
    assert list(rows[0]) == ["id", "seen", "class", *columns]
    assert [float(rows[0][name]) for name in columns] == [0.5, 2, 2, 1, 1, 0.5, 0.256, 0.256]
    assert [rows[2][name] for name in columns] == ["0.0", "", "", "", "0.0", "0.0", "0.0", "0.256"]
    assert float(rows[1]["dice"]) == 1  # absent in both


def test_provenance(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")
    settings = {"anatomy": "auto", "spacing": [1.5, 1.5, 1.5]}
    handler = CaseMetrics(tmp_path, {"atrium": 1}, tmp_path / "model.pt", tolerance=1.5, settings=settings)
    evaluate(handler, [case("a", (3, 5), (4, 6))])
    found = results(tmp_path)["provenance"]
    assert found["heartseg"] == heartseg.__version__
    assert found["weights"] == {"file": "model.pt", "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert (found["tolerance_mm"], found["anatomy"], found["spacing"]) == (1.5, "auto", [1.5, 1.5, 1.5])


def test_a_second_evaluation_starts_anew(tmp_path):
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}), [case("a", (3, 5), (4, 6))], epochs=2)
    assert [one["id"] for one in results(tmp_path)["clean"]["cases"]] == ["a"]


def test_a_printed_table_names_cases_and_means(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "model.pt").write_bytes(b"abc")
    write_json(tmp_path / "model.json", {"train": ["la_001"]})
    batch = [case("la_001", (2, 6), (2, 6)), case("la_002", (3, 5), (4, 6))]
    evaluate(CaseMetrics(tmp_path, {"atrium": 1}, tmp_path / "model.pt"), batch)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["la_001", "yes", "1.0000", "0.00", "0.00", "1.0000", "0.3", "0.3"] in rows
    assert ["la_002", "", "0.5000", "1.00", "0.50", "1.0000", "0.1", "0.1"] in rows
    assert ["mean of 1 unseen", "", "0.5000", "1.00", "0.50", "1.0000", "", ""] in rows
    assert ["mean of the seen", "yes", "1.0000", "0.00", "0.00", "1.0000", "", ""] in rows


def test_nothing_to_evaluate_writes_nothing_wrong(tmp_path):
    """An engine that failed before its first case has no means."""
    engine = Engine(lambda engine, batch: batch)
    CaseMetrics(tmp_path, {"atrium": 1}).attach(engine)

    @engine.on(Events.ITERATION_STARTED)
    def fail(engine):
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        engine.run([1])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_case(tmp_path):
    (tmp_path / "file").touch()
    engine = Engine(lambda engine, batch: pytest.fail("a case was evaluated"))
    CaseMetrics(tmp_path / "file" / "out", {"atrium": 1}).attach(engine)
    with pytest.raises(InputError, match="file: is a file, not a folder; use another output folder$"):
        engine.run([1])
