"""left_atrium under artifacts, through MONAI's own door."""

import json

import pytest

FILES = "['configs/inference.yaml','configs/robustness.yaml','configs/demo.yaml']"


@pytest.fixture
def run(monai_run, phantoms, tmp_path):
    """Call ``python -m monai.bundle run ID``; it gives the status and the output."""

    def call(run_id, *words):
        common = ["--config_file", FILES, "--dataset_dir", phantoms, "--output_dir", tmp_path / "out"]
        return monai_run("left_atrium", run_id, *common, *words)

    return call


def test_robustness_answers_to_run_too(run, learned, tmp_path):
    words = ["--weights", learned / "model.pt", "--split", "val", "--artifacts", "['spike']", "--pictures", 0]
    status, said = run("run", *words)
    assert status == 0, said[-3000:]
    found = json.loads((tmp_path / "out" / "evaluation_results.json").read_text(encoding="utf-8"))
    assert list(found) == ["clean", "spike", "memory_gib", "provenance"]
    assert found["clean"]["averaged_over"] == {"cases": 2, "seen": False}
    assert found["clean"]["dice"] > 0.5
    dice = {level: part["dice"] for level, part in found["spike"]["severities"].items()}
    assert dice["severe"] < dice["mild"]
    assert found["spike"]["drop_percent"] == pytest.approx(100 * (1 - dice["moderate"] / found["clean"]["dice"]))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluation_results.json",
        "evaluation_results.csv",
        "robustness.png",
    }


def test_a_negative_severity_is_one_line(run, seeded_weights, tmp_path):
    status, said = run("robustness", "--weights", seeded_weights, "--severity", "$-1")
    lines = [line for line in said.splitlines() if line.startswith("heartseg: ")]
    assert status == 2 and "Traceback" not in said
    assert len(lines) == 1 and lines[0].startswith("heartseg: severity -1: is not a strength; ")
    assert not (tmp_path / "out").exists()
