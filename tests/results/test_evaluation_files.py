"""Evaluations are read from their folder or file, or refused in one line."""

import json

import pytest

from heartseg.errors import InputError
from heartseg.results.evaluation_files import artifacts_of, read_evaluation

CASE = {"id": "a", "dice": 0.9, "hd95": None, "assd": 1, "nsd": 0.5}
HUGE = 10**399  # 400 digits
GOOD = {"clean": {"cases": [CASE]}, "motion": {"cases": [CASE], "severities": {}}, "provenance": {"seed": 0}}


def written(folder, content):
    path = folder / "evaluation_results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_folder_or_its_file(tmp_path):
    path = written(tmp_path, GOOD)
    assert read_evaluation(tmp_path) == read_evaluation(path) == {**GOOD, "file": str(path)}
    assert artifacts_of(read_evaluation(path)) == ["motion"]


def broken(**changes):
    return {"clean": {"cases": [{**CASE, **changes}]}}


def motion(**changes):
    return {**GOOD, "motion": {**GOOD["motion"], **changes}}


def nested(levels):
    return [nested(levels - 1)] if levels else 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "clean: there is no list of cases"),
        ({"classes": 3}, "clean: there is no list of cases"),
        ({"clean": [CASE]}, "clean: there is no list of cases"),
        ({"clean": {"cases": []}}, "clean: there is no list of cases"),
        ({"clean": {"densenet": {"auroc": 0.9}}}, "clean: there is no list of cases"),
        ({"clean": {"cases": [1]}}, "clean: a case has no id"),
        (broken(id=3), "clean: a case has no id"),
        ({"clean": {"cases": [CASE, CASE]}}, "clean: an id is repeated"),
        (broken(dice="0.9"), "clean: dice of a is not a number or null"),
        (broken(nsd=True), "clean: nsd of a is not a number or null"),
        ('{"clean": {"cases": [{"id": "a", "dice": NaN}]}}', "clean: dice of a is not a number or null"),
        ({"clean": {"cases": [{"id": "a", "score": 1}]}}, "clean: a has no metric"),
        ({**GOOD, "motion": {"cases": [], "severities": {}}}, "motion: there is no list of cases"),
        ("[" * 100_000, "is not JSON"),
        ('{"clean": {"cases": [{"id": "a", "dice": 1e999}]}}', "clean: dice of a is not a number or null"),
        (broken(dice=HUGE), "clean: dice of a is not a number or null, or too large"),
        (broken(dice=1e308), "clean: dice of a is not a number or null, or too large"),
        (broken(seen="x"), "clean: seen of a is not true, false or null"),
        (broken(seen=1), "clean: seen of a is not true, false or null"),
        (broken(classes={"la": 3}), "clean: classes of a are not tables by name"),
        (broken(classes=["la"]), "clean: classes of a are not tables by name"),
        (broken(id="a\nb"), "clean: a case has no id"),
        (broken(id="\ud800"), "clean: a case has no id"),
        (motion(strengths=[1, 2]), "motion: strengths are not numbers by name"),
        (motion(strengths={"degrees": "a"}), "motion: strengths are not numbers by name"),
        (motion(strengths={"degrees": HUGE}), "motion: strengths are not numbers by name"),
        (motion(settings=[8]), "motion: settings are not values by name"),
        (motion(settings={"moves": nested(50)}), "motion: settings are not values by name, or nested too deeply"),
        ({**GOOD, "mo\ntion": GOOD["motion"]}, "'mo\\ntion': is not a one-line name"),
        ({**GOOD, "provenance": "x"}, "provenance: is not a table of settings"),
        ({**GOOD, "provenance": ["a"]}, "provenance: is not a table of settings"),
        ({**GOOD, "provenance": {"tolerance_mm": "2"}}, "provenance: tolerance_mm is not a number or null"),
        ({**GOOD, "provenance": {"spacing": float("nan")}}, "provenance: has values that are not finite"),
        (
            {**GOOD, "provenance": {"spacing": nested(500)}},
            "provenance: has values that are not finite, or is nested",
        ),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, said):
    path = written(tmp_path, content)
    with pytest.raises(InputError) as info:
        read_evaluation(tmp_path)
    assert str(info.value).startswith(f"{path}: is not ") and said in str(info.value)
    assert "\n" not in str(info.value) and str(info.value).endswith(
        "; give the folder that heartseg evaluate or robustness wrote"
    )


def test_keys_that_older_evaluations_lack_are_optional(tmp_path):
    plain = {**CASE, "seen": None, "classes": None}
    content = {"clean": {"cases": [plain]}, "motion": {"cases": [plain], "severities": {}, "strengths": None}}
    path = written(tmp_path, content)
    assert read_evaluation(path) == {**content, "file": str(path)}
    full = {**CASE, "seen": True, "classes": {"la": {"truth_ml": 50.0}}}
    made = {"strengths": {"degrees": 10}, "settings": {"moves": 8, "axis": None}}
    content = {"clean": {"cases": [full]}, "motion": {"cases": [full], "severities": {}, **made}, "provenance": None}
    written(tmp_path, content)
    assert read_evaluation(path) == {**content, "file": str(path)}


def test_a_missing_file_and_a_binary_file(tmp_path):
    with pytest.raises(InputError, match="evaluation_results.json: cannot be read .*; give the folder"):
        read_evaluation(tmp_path)
    with pytest.raises(InputError, match="nowhere: cannot be read"):
        read_evaluation(tmp_path / "nowhere")
    (tmp_path / "evaluation_results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not JSON"):
        read_evaluation(tmp_path)
