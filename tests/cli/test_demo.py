"""The demonstration, reduced: every step, from nothing to a picture."""

import json
from pathlib import Path

import pytest

from heartseg.cli import demo
from heartseg.errors import InputError


def test_the_demo_runs_from_end_to_end(tmp_path, monkeypatch, capsys):
    run_step = demo.run_step

    def run_quickly(run_id, configs, paths, **values):
        run_step(run_id, [*configs, "quick"] if run_id == "training" else configs, paths, **values)

    monkeypatch.setattr(demo, "CASES", 4)
    monkeypatch.setattr(demo, "run_step", run_quickly)
    out = tmp_path / "demo"
    demo.run_demo(out)
    text = capsys.readouterr().out

    picture = Path(text.split("picture (image, truth, mask): ")[1].splitlines()[0])
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and out in picture.parents
    assert Path(text.split("the run: ")[1].splitlines()[0]) == out / "run" / "run_summary.md"
    assert (out / "run" / "run_summary.md").is_file()
    masks = [path.name for path in (out / "masks").glob("*.nii.gz")]
    assert masks == [path.name for path in (out / "data" / "imagesTs").iterdir()] == ["la_005.nii.gz"]
    cases = json.loads((out / "evaluation" / "evaluation_results.json").read_text())["clean"]["cases"]
    split = json.loads((out / "run" / "model.json").read_text())
    assert [case["id"] for case in cases] == split["val"] == [picture.stem]  # evaluated on the held-out case
    assert [number for number in "1234" if f"\n{number}. " in text] == list("1234")
    assert json.loads((out / demo.MARK).read_text()) == {"cases": 4, "seed": demo.SEED}


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other files; use a new folder with --out"):
        demo.run_demo(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "thesis.txt"]
