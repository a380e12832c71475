"""Two evaluations compared case by case: pairs, statistics, caveats, files."""

import csv
import json

import pytest
from matplotlib.colors import same_color

from heartseg.errors import InputError
from heartseg.report.comparison_figure import draw_comparison
from heartseg.report.figures import GREEN, VERMILION
from heartseg.results.comparison import compare_evaluations, print_comparison, write_comparison

MOTION = {"degrees": 10.0, "translation": 5.0}


def case(identity, dice, hd95=1.0, seen=False, truth=50.0):
    numbers = {"dice": dice, "hd95": hd95, "assd": 0.5, "nsd": 0.9}
    return {"id": identity, "seen": seen, **numbers, "classes": {"atrium": {"truth_ml": truth}}}


def evaluation(name, clean, motion=None, strengths=MOTION, tolerance=2.0):
    content = {"file": name, "clean": {"cases": clean}, "provenance": {"tolerance_mm": tolerance}}
    if motion is not None:
        content["motion"] = {"cases": motion, "strengths": strengths, "severities": {}}
    return content


A = evaluation("a.json", [case("x", 0.9, 2.0), case("y", 0.8, 4.0), case("z", 0.7, None)])
B = evaluation("b.json", [case("z", 0.5, 3.0), case("y", 0.9, 3.0), case("x", 0.95, 2.0)])


def test_numbers_by_hand():
    """Differences 0.05, 0.1 and -0.2 have ranks 1, 2 and 3; of 8 choices of signs 5 have a sum of at most 3."""
    found = compare_evaluations(A, B)
    clean = found["conditions"]["clean"]
    assert clean["metrics"]["dice"] == {
        "n": 3,
        "missing": 0,
        "mean_a": pytest.approx(0.8),
        "mean_b": pytest.approx(2.35 / 3),
        "mean_difference": pytest.approx(-0.05 / 3),
        "p": pytest.approx(1),
        "better": 2,
        "worse": 1,
    }
    assert [(pair["id"], pair["a"]["dice"], pair["b"]["dice"]) for pair in clean["pairs"]] == [
        ("x", 0.9, 0.95),
        ("y", 0.8, 0.9),
        ("z", 0.7, 0.5),
    ]
    assert found["cases"] == {"common": ["x", "y", "z"], "only_a": [], "only_b": []}
    assert found["averaged_over"] == {"cases": 3, "seen": False}
    assert found["notes"] == []
    assert list(found["conditions"]) == ["clean"]


def test_smaller_distances_are_better_and_missing_pairs_are_counted():
    row = compare_evaluations(A, B)["conditions"]["clean"]["metrics"]["hd95"]
    assert (row["n"], row["missing"], row["mean_a"], row["mean_b"]) == (2, 1, 3, 2.5)
    assert (row["mean_difference"], row["better"], row["worse"], row["p"]) == (-0.5, 1, 0, 1)


def test_an_evaluation_equals_itself():
    row = compare_evaluations(A, A)["conditions"]["clean"]["metrics"]["dice"]
    assert (row["mean_difference"], row["p"], row["better"], row["worse"]) == (0, 1, 0, 0)


def test_cases_of_one_side_only_are_listed_and_left_out():
    other = evaluation("b.json", [case("y", 0.9), case("w", 0.1)])
    found = compare_evaluations(A, other)
    assert found["cases"] == {"common": ["y"], "only_a": ["x", "z"], "only_b": ["w"]}
    assert found["notes"] == ["only in A, left out: x, z", "only in B, left out: w"]
    assert found["conditions"]["clean"]["metrics"]["dice"]["n"] == 1


def test_no_case_in_common_is_refused():
    with pytest.raises(InputError, match="a.json and b.json: have no case in common; evaluate both on the same data"):
        compare_evaluations(A, evaluation("b.json", [case("w", 0.1)]))


def test_cases_used_to_train_either_are_left_out():
    a = evaluation("a", [case("x", 0.9, seen=True), case("y", 0.8), case("z", 0.7)])
    b = evaluation("b", [case("x", 0.8), case("y", 0.9, seen=True), case("z", 0.5)])
    found = compare_evaluations(a, b)
    assert found["averaged_over"] == {"cases": 1, "seen": False}
    assert [pair["counted"] for pair in found["conditions"]["clean"]["pairs"]] == [False, False, True]
    assert found["conditions"]["clean"]["metrics"]["dice"]["mean_difference"] == pytest.approx(-0.2)
    assert found["notes"] == ["2 cases used to train A or B are left out"]


def test_if_all_cases_were_seen_they_count_with_a_note():
    a = evaluation("a", [case("x", 0.9, seen=True)])
    found = compare_evaluations(a, evaluation("b", [case("x", 0.8)]))
    assert found["averaged_over"] == {"cases": 1, "seen": True}
    assert found["notes"] == ["all these cases were used to train A or B: the figures are too good"]


def test_seen_may_be_unknown():
    a = evaluation("a", [case("x", 0.9, seen=None)])
    assert compare_evaluations(a, A)["averaged_over"] == {"cases": 1, "seen": None}


def test_artifacts_that_both_have():
    a = evaluation("a", A["clean"]["cases"], motion=[case("x", 0.8), case("y", 0.6), case("z", 0.5)])
    b = evaluation("b", B["clean"]["cases"], motion=[case("x", 0.85), case("y", 0.7), case("z", 0.8)])
    a["noise"] = a["motion"]
    found = compare_evaluations(a, b)
    assert list(found["conditions"]) == ["clean", "motion"]
    assert found["conditions"]["motion"]["strengths"] == {"a": MOTION, "b": MOTION}
    assert found["conditions"]["motion"]["metrics"]["dice"]["mean_difference"] == pytest.approx(0.15)
    assert found["notes"] == []


def test_differences_that_hamper_comparison_are_noted():
    severe = {"degrees": 20.0, "translation": 10.0}
    a = evaluation("a", [case("x", 0.9)], motion=[case("x", 0.8)])
    b = evaluation("b", [case("x", 0.9, truth=60.0)], motion=[case("x", 0.8)], strengths=severe, tolerance=1.0)
    assert compare_evaluations(a, b)["notes"] == [
        "motion: degrees 10, translation 5 in A, degrees 20, translation 10 in B",
        "the truth's volume differs between A and B: x: is it the same data?",
        "NSD has a tolerance of 2.0 mm in A, 1.0 mm in B: do not compare it",
    ]


def made(name, settings, seed, motion=True):
    content = evaluation(name, [case("x", 0.9)], motion=[case("x", 0.8)] if motion else None)
    content["provenance"] |= {} if seed is None else {"seed": seed}
    if motion and settings is not None:
        content["motion"]["settings"] = settings
    return content


def test_differing_settings_of_an_artifact_are_noted():
    a = made("a", {"moves": 8, "in_plane": 2, "axis": None}, 5)
    found = compare_evaluations(a, made("b", {"in_plane": 2, "axis": [0, 1]}, 0))
    assert found["conditions"]["motion"]["settings"] == {
        "a": {"moves": 8, "in_plane": 2, "axis": None},
        "b": {"in_plane": 2, "axis": [0, 1]},
    }
    assert found["notes"] == [
        "motion: moves 8 in A, not set in B",
        "motion: axis null in A, [0, 1] in B",
        "seed 5 in A, 0 in B: different random draws of motion",
    ]


@pytest.mark.parametrize(
    ("a", "b", "notes"),
    [
        (({}, 3), ({}, 3), []),
        (({}, 3), (None, 3), []),  # an older file has none
        ((None, None), (None, None), []),
        (({"moves": 8}, 3), (None, 3), ["motion: moves 8 in A, unknown in B"]),
        (({}, 3), ({}, None), ["seed 3 in A, unknown in B: different random draws of motion"]),
    ],
)
def test_settings_of_an_artifact_may_be_equal_or_unknown(a, b, notes):
    assert compare_evaluations(made("a", *a), made("b", *b))["notes"] == notes


def test_the_seed_does_not_matter_for_clean_scans():
    assert compare_evaluations(made("a", None, 0, motion=False), made("b", {}, 1))["notes"] == []


def test_rows_with_differing_settings_are_marked(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    a, b = made("a", {"moves": 8}, 0), made("b", {}, 0)
    print_comparison(compare_evaluations(a, b))
    assert "motion (settings differ)" in capsys.readouterr().out
    b["motion"]["strengths"] = {"degrees": 1.0}
    print_comparison(compare_evaluations(a, b))
    assert "motion (strengths and settings differ)" in capsys.readouterr().out
    print_comparison(compare_evaluations(made("a", {}, 0), made("b", None, 0)))
    assert "differ)" not in capsys.readouterr().out


def test_files(tmp_path):
    comparison = compare_evaluations(A, B)
    write_comparison(comparison, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["comparison.csv", "comparison.json"]
    assert json.loads((tmp_path / "new" / "comparison.json").read_text(encoding="utf-8")) == comparison
    with open(tmp_path / "new" / "comparison.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4
    assert rows[8:10] == [
        {"condition": "clean", "id": "z", "counted": "True", "metric": "dice", "a": "0.7", "b": "0.5"},
        {"condition": "clean", "id": "z", "counted": "True", "metric": "hd95", "a": "", "b": "3.0"},
    ]


@pytest.mark.parametrize("show", [draw_comparison, print_comparison])
def test_a_metric_that_was_not_compared_is_refused(show):
    comparison = compare_evaluations(A, B)
    with pytest.raises(InputError, match=r"metric hd59: unknown; did you mean hd95\?"):
        show(comparison, "hd59")
    with pytest.raises(InputError, match="metric volume: unknown; there are: dice, hd95, assd, nsd"):
        show(comparison, "volume")


def test_every_metric_that_both_have_is_compared():
    a, b = (
        evaluation(name, [{**case("x", 0.9), "boundary_dice": value, "hd": 3.0}])
        for name, value in (("a", 0.2), ("b", 0.3))
    )
    found = compare_evaluations(a, b)["conditions"]["clean"]["metrics"]
    assert list(found) == ["dice", "hd95", "hd", "assd", "nsd", "boundary_dice"]
    assert found["boundary_dice"]["better"] == 1
    del b["clean"]["cases"][0]["hd"]
    assert "hd" not in compare_evaluations(a, b)["conditions"]["clean"]["metrics"]


def test_a_metric_of_all_cases_together_is_noted_with_both_values():
    """AUROC has no value for a single case; a metric that one case lacks is not dropped in silence either."""
    a, b = ({**evaluation(name, [case("x", 0.9), case("y", 0.8)])} for name in "ab")
    a["clean"]["auroc"], b["clean"]["auroc"] = 0.9, 0.75
    del b["clean"]["cases"][0]["hd95"]
    comparison = compare_evaluations(a, b)
    assert comparison["not_paired"] == {"hd95": {"a": None, "b": None}, "auroc": {"a": 0.9, "b": 0.75}}
    assert "AUROC: 0.9000 in A, 0.7500 in B: not compared, since not every case has a value" in comparison["notes"]
    assert "HD95 in mm: not compared, since not every case has a value" in comparison["notes"]
    with pytest.raises(InputError, match="^metric auroc: not every case has a value of it to compare; give dice or "):
        print_comparison(comparison, "auroc")


def test_evaluations_without_a_common_metric_are_refused():
    other = evaluation("b.json", [{"id": "x", "seen": False, "log_loss": 0.3}])
    with pytest.raises(InputError, match="a.json and b.json: have no metric in common; evaluate both in the same way"):
        compare_evaluations(A, other)


@pytest.mark.parametrize(("metric", "better"), [("dice", {"x", "y"}), ("hd95", {"y"})])
def test_each_pair_is_a_line_in_the_colour_of_its_outcome(metric, better):
    comparison = compare_evaluations(A, B)
    axes = draw_comparison(comparison, metric).axes[0]
    pairs = [pair for pair in comparison["conditions"]["clean"]["pairs"] if pair["a"][metric] is not None]
    assert [list(line.get_ydata()) for line in axes.lines] == [[p["a"][metric], p["b"][metric]] for p in pairs]
    for line, pair in zip(axes.lines, pairs, strict=True):
        equal = pair["a"][metric] == pair["b"][metric]
        assert same_color(line.get_color(), GREEN if pair["id"] in better else "0.6" if equal else VERMILION)
    bars = [segment[0][1] for segment in axes.collections[0].get_segments()]
    row = comparison["conditions"]["clean"]["metrics"][metric]
    assert bars == [row["mean_a"], row["mean_b"]]


def test_long_paths_are_shortened_to_their_end():
    a = {**A, "file": f"/{'long' * 30}/one/evaluation_results.json"}
    first, second = draw_comparison(compare_evaluations(a, B)).get_suptitle().splitlines()
    assert first.startswith("A: ...") and first.endswith("long/one") and len(first) == 63
    assert second == "B: b.json"


def test_conditions_with_few_pairs_are_noted(capsys):
    names = "stuvwxyz"
    a = evaluation("a", [case(n, 0.5) for n in names], motion=[case(n, 0.5) for n in names])
    better = [case(n, 0.6 + place / 100) for place, n in enumerate(names)]
    print_comparison(compare_evaluations(a, evaluation("b", better, motion=better[:5])))
    text = capsys.readouterr().out
    assert "so p cannot reach 0.05: motion\n" in text and "0.00781" in text  # 2 / 2**8


def test_cases_that_do_not_count_are_not_drawn():
    a = evaluation("a", [case("x", 0.9, seen=True), case("y", 0.8)])
    assert len(draw_comparison(compare_evaluations(a, B)).axes[0].lines) == 1


def test_the_printed_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    a = evaluation("a", A["clean"]["cases"], motion=A["clean"]["cases"])
    b = evaluation("b", B["clean"]["cases"], motion=B["clean"]["cases"], strengths={"degrees": 1.0})
    print_comparison(compare_evaluations(a, b))
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert ["clean", "3", "0.8000", "0.7833", "-0.0167", "1", "2", "1"] in rows
    assert ["motion (strengths differ)", "3", "0.8000", "0.7833", "-0.0167", "1", "2", "1"] in rows
    assert "Dice of 3 unseen cases" in text and text.startswith("A: a\nB: b\n")
    assert "- motion: degrees 10, translation 5 in A, degrees 1 in B" in text
    assert "- fewer than 6 pairs differ, so p cannot reach 0.05: everywhere" in text
    print_comparison(compare_evaluations(A, B), "hd95")
    text = capsys.readouterr().out
    assert "- pairs without a value, left out: clean 1" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert ["clean", "2", "3.00", "2.50", "-0.50", "1", "1", "0"] in rows
