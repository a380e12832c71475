"""`heartseg robustness` and `heartseg compare`: their files, their output, their errors."""

import csv
import json
import shlex

import pytest
from answers import refused

import heartseg.data.scans
from heartseg.artifacts import ARTIFACTS, LEVELS

# Two unseen cases on a coarse grid, with one small window each.
QUICK = ["--overlay", "demo", "--set", "spacing=[8, 8, 8]", "--set", "roi_size=[32, 32, 32]", "--set", "overlap=0"]


@pytest.fixture
def run_command(phantoms, seeded_weights, heartseg, tmp_path):
    """Run evaluate or robustness on two cases; return the results, and both outputs."""

    def call(door, name, *words):
        out = tmp_path / name
        common = ["--data", phantoms, "--weights", seeded_weights, "--split", "val", *QUICK, "--out", out]
        status, said, err = heartseg(door, "left_atrium", *common, *words)
        assert status == 0, err[-3000:]
        content = json.loads((out / "evaluation_results.json").read_text(encoding="utf-8"))
        return content, said, err

    return call


def test_clean_and_every_artifact(run_command, tmp_path, monkeypatch):
    plain, _, _ = run_command("evaluate", "plain", "--set", "pictures=0")
    read, original = [], heartseg.data.scans.read_nifti

    def counted(path, **how):
        read.append(path)
        return original(path, **how)

    monkeypatch.setattr(heartseg.data.scans, "read_nifti", counted)
    found, said, _ = run_command("robustness", "robust")

    assert len(read) == len(set(read)) == 4  # image and label of two cases, once for all 28 conditions
    assert list(found) == ["clean", *ARTIFACTS, "memory_gib", "provenance"]
    assert found["clean"] == plain["clean"]  # to the digit
    assert len(found["clean"]["cases"]) == 2
    for name in ARTIFACTS:
        part = found[name]
        assert list(part["severities"]) == list(LEVELS)
        assert {key: part[key] for key in part if key != "severities"} == part["severities"]["moderate"]
        for level in part["severities"].values():
            assert [case["id"] for case in level["cases"]] == ["la_001", "la_006"]
            drop = 100 * (found["clean"]["dice"] - level["dice"]) / found["clean"]["dice"]
            assert level["drop_percent"] == pytest.approx(drop)
    source = found["provenance"]
    assert (source["seed"], source["artifacts"], source["severity"], source["strengths"]) == (0, [*ARTIFACTS], None, {})
    assert {key: found["provenance"][key] for key in plain["provenance"]} == plain["provenance"]

    out = tmp_path / "robust"
    with open(out / "evaluation_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 28
    for row in rows:
        part = found[row["artifact"]]
        part = part["severities"][row["severity"]] if row["severity"] else part
        assert float(row["dice"]) == next(case["dice"] for case in part["cases"] if case["id"] == row["id"])
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == [
        "pictures/la_001.png",
        "robustness.png",
    ]
    assert f"results: {out / 'evaluation_results.json'}" in said.splitlines()
    assert all(name in said for name in ARTIFACTS)


def test_artifacts_by_name_and_severities_by_number_with_and_without_workers(run_command):
    level, _, _ = run_command(
        "robustness", "level", "--artifact", "motion", "--artifact", "noise", "--set", "pictures=0"
    )
    assert [name for name in level if name in ARTIFACTS] == ["motion", "noise"]
    workers = ["--set", "num_workers=2", "--set", "pictures=0"]
    number, _, _ = run_command("robustness", "number", "--artifact", "motion", "--severity", "10", *workers)
    assert number["clean"] == level["clean"]
    moderate = {**level["motion"]["severities"]["moderate"], "severity": "10"}
    assert number["motion"] == {**moderate, "severities": {"10": moderate}}
    assert number["motion"]["cases"] != number["clean"]["cases"]

    none, _, _ = run_command("robustness", "none", "--artifact", "motion", "--severity", "0", "--set", "pictures=0")
    assert (none["motion"]["cases"], none["motion"]["drop_percent"]) == (none["clean"]["cases"], 0)


def test_another_seed_gives_other_artifacts_and_the_same_clean(run_command, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["la_002"], "val": ["la_001"]}))
    words = ["--artifact", "noise", "--severity", "severe", "--set", f"split_file={split}", "--set", "pictures=0"]
    one, other = (run_command("robustness", f"seed {seed}", *words, "--set", f"seed={seed}")[0] for seed in (0, 3))
    assert one["clean"] == other["clean"] and [case["id"] for case in one["clean"]["cases"]] == ["la_001"]
    assert one["noise"]["cases"] != other["noise"]["cases"]
    assert (one["provenance"]["seed"], other["provenance"]["seed"]) == (0, 3)


def test_custom_strengths(run_command):
    words = ["--artifact", "motion", "--set", "strengths::motion::degrees=12", "--set", "pictures=0"]
    found, _, err = run_command("robustness", "own", *words, "--set", "strengths::motion::translation=[2, 4, 8]")
    assert [level["strengths"] for level in found["motion"]["severities"].values()] == [
        {"degrees": 12, "translation": 2},
        {"degrees": 12, "translation": 4},
        {"degrees": 12, "translation": 8},
    ]
    (line,) = [line for line in err.splitlines() if "python -m monai.bundle" in line]
    said = shlex.split(line)
    assert said[5:7] == ["monai.bundle", "run"] and said[7:9] == ["robustness", "--config_file"]
    assert said[9] == "['configs/inference.yaml','configs/robustness.yaml','configs/demo.yaml']"
    values = dict(zip(said[10::2], said[11::2], strict=True))
    assert values["--artifacts"] == "['motion']" and values["--split"] == "val" and "--severity" not in values
    assert values["--strengths"] == "{'motion': {'degrees': 12, 'translation': [2, 4, 8]}}"


def test_settings_of_artifacts_are_recorded_and_compared(run_command, heartseg, tmp_path):
    words = ["--artifact", "motion", "--severity", "10", "--set", "pictures=0"]
    found, _, _ = run_command("robustness", "a", *words, "--set", "strengths::motion::moves=8", "--set", "seed=5")
    assert found["motion"]["settings"] == found["motion"]["severities"]["10"]["settings"] == {"moves": 8}
    source = found["provenance"]
    assert {key: source[key] for key in ("artifacts", "severity", "strengths", "seed")} == {
        "artifacts": ["motion"],
        "severity": 10,
        "strengths": {"motion": {"moves": 8}},
        "seed": 5,
    }
    plain, _, _ = run_command("robustness", "b", *words)
    assert plain["motion"]["settings"] == plain["provenance"]["strengths"] == {}
    status, said, _ = heartseg("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "compared")
    assert status == 0 and "- motion: moves 8 in A, not set in B" in said
    assert "- seed 5 in A, 0 in B: different random draws of motion" in said


WRONG = {
    "artifact": (["--artifact", "motoin"], "artifact motoin: unknown; did you mean motion?"),
    "severity": (["--severity", "modrate"], "severity modrate: is not a strength; give 0"),
    "negative": (["--severity", "-3"], "severity -3: is not a strength; give 0"),
    "infinite": (["--severity", "inf"], "severity inf: is not a strength; give 0"),
    "too much": (["--artifact", "slice_dropout", "--severity", "10"], "more than all slices"),
    "too much for one": (["--severity", "10"], "10 sets the first strength of every artifact: select some"),
    "strength": (["--set", "strengths::motion::degres=3"], "motion: degres: unknown setting; did you mean degrees?"),
    "strengths": (["--set", "strengths::motoin::degrees=3"], "did you mean motion?"),
    "id": (["--set", "strength::motion::degrees=3"], "--set strength::motion::degrees: "),
}


@pytest.mark.parametrize("fault", WRONG)
def test_invalid_options_are_refused_before_anything_is_loaded(fault, heartseg, tmp_path, monkeypatch):
    """There are no data and no weights, and neither is missed."""
    monkeypatch.chdir(tmp_path)
    words, said = WRONG[fault]
    common = ["--data", "nowhere", "--weights", "nowhere.pt", "--out", "out"]
    assert said in refused(heartseg("robustness", "left_atrium", *common, *words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "nowhere"], "nowhere: there is no such folder"),
        (["--split", "tset"], "split tset: unknown; give all, train"),
        (["--weights", "nowhere.pt"], "nowhere.pt: no such file"),
    ],
)
def test_missing_data_split_and_weights_are_refused(
    words, said, phantoms, seeded_weights, heartseg, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    common = ["--data", phantoms, "--weights", seeded_weights, "--out", "out"]
    assert said in refused(heartseg("robustness", "left_atrium", *common, *words))
    assert list(tmp_path.iterdir()) == []


# Comparing


def evaluation(folder, **dice):
    cases = [{"id": name, "seen": False, "dice": v, "hd95": 2, "assd": 1, "nsd": 0.9} for name, v in dice.items()]
    folder.mkdir()
    path = folder / "evaluation_results.json"
    path.write_text(json.dumps({"clean": {"cases": cases}}), encoding="utf-8")
    return folder


def test_compare(heartseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = evaluation(tmp_path / "a", x=0.5, y=0.75), evaluation(tmp_path / "b", x=0.75, y=1.0, z=0.1)
    status, said, err = heartseg("compare", a, b / "evaluation_results.json")
    assert (status, err) == (0, "")
    assert {path.name for path in (tmp_path / "comparison").iterdir()} == {
        f"comparison.{kind}" for kind in ("json", "csv", "png")
    }
    content = json.loads((tmp_path / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    row = content["conditions"]["clean"]["metrics"]["dice"]
    assert (row["n"], row["mean_a"], row["mean_b"], row["mean_difference"], row["p"]) == (2, 0.625, 0.875, 0.25, 0.5)
    assert "only in B, left out: z" in said
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines()]
    assert ["clean", "2", "0.6250", "0.8750", "+0.2500", "0.5", "2", "0"] in rows

    status, said, _ = heartseg("compare", a, b, "--metric", "hd95", "--out", "other")
    assert status == 0 and "HD95 in mm of 2 unseen cases" in said and (tmp_path / "other" / "comparison.png").is_file()


def test_compare_refuses_in_one_line_and_writes_nothing(heartseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = evaluation(tmp_path / "a", x=0.5), evaluation(tmp_path / "b", y=0.5)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "evaluation_results.json").write_text('{"classes": {}}')
    foreign = evaluation(tmp_path / "d", x=0.5) / "evaluation_results.json"
    foreign.write_text(json.dumps({**json.loads(foreign.read_text()), "provenance": "x"}))
    assert "nowhere: cannot be read" in refused(heartseg("compare", a, "nowhere"))
    assert "have no case in common" in refused(heartseg("compare", a, b))
    assert "is not an evaluation of cases" in refused(heartseg("compare", "c", a))
    assert "provenance: is not a table of settings" in refused(heartseg("compare", a, "d"))
    foreign.write_text("[" * 100_000)
    assert "is not JSON" in refused(heartseg("compare", "d", a))
    assert "did you mean dice?" in refused(heartseg("compare", a, a, "--metric", "dise"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "d"]
