"""The title and Markdown of a sync, also for odd content from Kaggle."""

import json

import pytest

from heartseg.errors import InputError
from heartseg.kaggle.score_summary import Run, code, markdown, number, title, write_outputs

KERNEL = "alice/heartseg-ventricles"


def row(dice, hd95):
    return {"dice": dice, "hd95": hd95, "assd": 1.0, "nsd": 0.9}


@pytest.fixture
def run(tmp_path):
    """A run with an evaluation of one case of two classes: ``run(dice=..., classes=..., **manifest)``."""
    made = []

    def make(dice=0.9, classes=None, case="p1", **about):
        classes = classes or {"RV": row(0.8, 6.0), "LV": row(1.0, 4.0)}
        folder = tmp_path / f"run-{len(made)}"
        folder.mkdir()
        made.append(folder)
        over = {"cases": 1, "seen": False}
        cases = [{"id": case, "seen": False, **row(dice, 5.0), "classes": classes}]
        clean = {**row(dice, 5.0), "classes": classes, "averaged_over": over, "cases": cases}
        (folder / "evaluation_results.json").write_text(json.dumps({"clean": clean}))
        known = {"bundle": "ventricles", "commit": "abc", "epochs": 3, "minutes": 2.5, "finished": True, "dice": dice}
        return Run({**known, "started": "2026-11-21T08:00:00+00:00", "gpus": [], **about}, folder)

    return make


class TestTitle:
    def test_difference(self, run):
        assert title(run(0.9012), run(0.8972)) == "Kaggle: ventricles Dice 0.9012 (+0.0040)"

    def test_a_zero_difference_has_no_minus(self, run):
        assert title(run(0.90001), run(0.90002)) == "Kaggle: ventricles Dice 0.9000 (+0.0000)"

    @pytest.mark.parametrize("odd", ["NaN", None, True, 1e300, float("nan"), [0.9]])
    def test_an_invalid_dice(self, odd, run):
        assert title(Run({"bundle": "b", "dice": odd, "finished": True}, run().folder)) == "Kaggle: b, no Dice"
        assert number(odd) is None

    def test_a_name_with_more_lines_and_markdown(self, run):
        assert title(run(bundle="a\nb](http://x) @all <img>")) == "Kaggle: a-nb-http-x-all-img- Dice 0.9000"

    def test_a_manifest_that_says_nothing(self, run):
        assert title(Run({}, run().folder)) == "Kaggle: None, no Dice, unfinished"

    def test_another_key_metric(self, run):
        first, second = (run(metric="auroc", auroc=value) for value in (0.9, 0.91))
        assert title(second, first) == "Kaggle: ventricles AUROC 0.9100 (+0.0100)"
        assert title(second, run(0.9)) == "Kaggle: ventricles AUROC 0.9100"  # another metric: no difference

    def test_a_metric_of_which_less_is_better(self, run):
        first, second = (run(metric="hd95", hd95=value) for value in (5.0, 4.25))
        assert title(second, first) == "Kaggle: ventricles HD95 4.25 (-0.75) (lower is better)"

    @pytest.mark.parametrize("odd", ["sharpness", 3, None, ["dice"]])
    def test_a_metric_that_is_not_known(self, odd, run):
        assert title(run(metric=odd)) == "Kaggle: ventricles, no score"


class TestMarkdown:
    def test_every_class_beside_the_last_run(self, run):
        last = run(0.85, {"RV": row(0.75, 6.5), "LV": row(0.95, 4.0)}, commit="old", started="2026-11-20")
        text = markdown(KERNEL, run(), last, "https://github.com/x/curves.png")
        assert text.splitlines() == [
            "## Kaggle: ventricles Dice 0.9000 (+0.0500)",
            "",
            "|  | Dice | HD95 in mm | ASSD in mm | NSD |",
            "| --- | ---: | ---: | ---: | ---: |",
            "| mean of 1 unseen case | 0.9000 (+0.0500) | 5.00 (+0.00) | 1.00 (+0.00) | 0.9000 (+0.0000) |",
            "| `RV` | 0.8000 (+0.0500) | 6.00 (-0.50) | 1.00 (+0.00) | 0.9000 (+0.0000) |",
            "| `LV` | 1.0000 (+0.0500) | 4.00 (+0.00) | 1.00 (+0.00) | 0.9000 (+0.0000) |",
            "",
            f"- kernel [{KERNEL}](https://www.kaggle.com/code/{KERNEL}), finished",
            "- commit `abc`, `3` epochs in `2.5` minutes (`no GPU`), started `2026-11-21T08:00:00+00:00`",
            "- in brackets: the difference to the run on the default branch, of commit `old`, started `2026-11-20`; "
            "lower is better for HD95 and ASSD",
            "",
            "![Curves of the training](https://github.com/x/curves.png)",
        ]

    def test_other_cases_are_named(self, run):
        text = markdown(KERNEL, run(case="p2"), run(case="p1"))
        assert "- no case is common to both runs: do not compare their scores" in text

    def test_a_class_that_is_new(self, run):
        text = markdown(KERNEL, run(), run(classes={"RV": row(0.7, 6.0)}))
        assert "| `RV` | 0.8000 (+0.1000) |" in text and "| `LV` | 1.0000 | 4.00 |" in text

    def test_names_can_do_nothing(self, run):
        """No name ends a cell or its code, mentions people, or makes a link, a picture or HTML."""
        evil = "a|b`c<img src=x>[d](http://e)@all"
        text = markdown(
            KERNEL, run(classes={evil: row(0.5, 1.0), "LV": row(0.5, 1.0)}, commit=evil), None, left_out=[evil]
        )
        shown = "`a\u00a6b'c<img src=x>[d](http://e)@all`"
        lines = [line for line in text.splitlines() if "img" in line]
        assert len(lines) == 3 and all(shown in line for line in lines)
        assert lines[0] == f"| {shown} | 0.5000 | 1.00 | 1.00 | 0.9000 |"

    def test_several_lines_are_one(self):
        assert code("a\nb\r\u2028c") == r"`a\nb\r\u2028c`"

    def test_long_names_are_cut(self):
        assert code("x" * 1000) == f"`{'x' * 300}...`"

    @pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"clean": 3}', '{"clean": {"cases": []}}'])
    def test_no_evaluation(self, content, run):
        broken = run()
        (broken.folder / "evaluation_results.json").write_text(content)
        assert "There is no evaluation of cases." in markdown(KERNEL, broken, run())
        assert "| 0.9000 | 5.00 |" in markdown(KERNEL, run(), broken)

    @pytest.mark.parametrize("odd", [{"averaged_over": None}, {"averaged_over": {"cases": "x"}}, {"classes": [1]}])
    def test_an_odd_evaluation(self, odd, run):
        one = run()
        content = json.loads((one.folder / "evaluation_results.json").read_text())
        content["clean"].update(odd)
        (one.folder / "evaluation_results.json").write_text(json.dumps(content))
        assert "| mean of 1 " in markdown(KERNEL, one, None)


class TestOutputs:
    def test_outputs_are_appended(self, tmp_path, monkeypatch):
        output, summary = tmp_path / "output", tmp_path / "summary"
        output.write_text("a=1\n")
        monkeypatch.setenv("GITHUB_OUTPUT", str(output))
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
        write_outputs({"changed": "true", "dice": ""}, "## T")
        assert output.read_text() == "a=1\nchanged=true\ndice=\n" and summary.read_text() == "## T\n"

    def test_no_output_sets_another(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
        for text in ("x\nchanged=true", "x\rchanged=true", "x\u2028y"):
            with pytest.raises(InputError, match="several lines"):
                write_outputs({"branch": text})
        assert not (tmp_path / "output").exists()

    def test_outside_an_action_nothing_is_written(self, monkeypatch):
        monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
        monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        write_outputs({"changed": "true"}, "## T")
