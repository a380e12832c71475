"""Pictures of a robustness evaluation show what was evaluated."""

import matplotlib.image
import numpy as np
import pytest
from evaluations import case, evaluate

from heartseg.artifacts import list_conditions
from heartseg.handlers import RobustnessMetrics, RobustnessPictures
from heartseg.handlers.robustness_pictures import draw_robustness
from heartseg.report.figures import BLUE

CONDITIONS = list_conditions(["motion", "bias_field"])


def part(dice, cases=("a", "b"), seen=False, **more):
    rows = [{"id": name, "seen": seen, "dice": value} for name, value in zip(cases, dice, strict=True)]
    return {
        "dice": float(np.mean(dice)),
        "averaged_over": {"cases": len(rows), "seen": seen},
        "cases": rows,
        **more,
    }


def artifact(*dice):
    levels = {}
    for name, own, degrees in zip(("mild", "moderate", "severe"), dice, (5, 10, 20), strict=True):
        drop = 100 * (0.8 - float(np.mean(own))) / 0.8
        levels[name] = part(own, strengths={"degrees": degrees, "translation": degrees / 2}, drop_percent=drop)
    return {**levels["moderate"], "severities": levels}


RESULTS = {
    "clean": part((0.9, 0.7)),
    "motion": artifact((0.9, 0.7), (0.8, 0.6), (0.6, 0.2)),
    "bias_field": artifact((0.9, 0.7), (0.9, 0.7), (0.9, 0.8)),
    "provenance": {"seed": 0},
}


def test_dice_against_severity():
    figure = draw_robustness(RESULTS)
    motion, field = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["motion", "bias field"]
    one, other, clean, mean = motion.lines
    assert list(one.get_ydata()) == [0.9, 0.9, 0.8, 0.6]
    assert list(other.get_ydata()) == [0.7, 0.7, 0.6, 0.2]
    assert set(clean.get_ydata()) == {0.8} and clean.get_linestyle() == "--"
    assert list(mean.get_ydata()) == pytest.approx([0.8, 0.8, 0.7, 0.4]) and mean.get_color() == BLUE
    assert [text.get_text() for text in motion.texts] == ["0 %", "-12.5 %", "-50.0 %"]
    assert field.texts[-1].get_text() == "+6.3 %"  # better than clean
    ticks = [tick.get_text() for tick in motion.get_xticklabels()]
    assert ticks == ["clean", "mild\n5, 2.5", "moderate\n10, 5", "severe\n20, 10"]
    assert motion.get_xlabel() == "degrees, translation"
    assert figure.get_suptitle() == "2 unseen cases"


def test_seen_cases_are_not_drawn_where_there_are_others():
    def with_seen(results):
        own = {**results, "cases": [*results["cases"], {"id": "c", "seen": True, "dice": 1.0}]}
        if "severities" in results:
            own["severities"] = {name: with_seen(level) for name, level in results["severities"].items()}
        return own

    results = {name: with_seen(RESULTS[name]) for name in ("clean", "motion")}
    assert len(draw_robustness(results).axes[0].lines) == 2 + 2


def test_a_tiny_drop_does_not_look_large():
    same = (0.9, 0.7)
    figure = draw_robustness({"clean": part((0.8, 0.8)), "motion": artifact(*[(0.8, 0.7998)] * 3)})
    low, high = figure.axes[0].get_ylim()
    assert high - low == pytest.approx(0.05) and low < 0.7998 < 0.8 < high
    figure = draw_robustness({"clean": part(same), "motion": artifact(same, same, same)})
    assert np.diff(figure.axes[0].get_ylim()) > 0.2


def test_no_drop_leaves_no_text():
    results = {"clean": part((0.0, 0.0)), "motion": artifact((0, 0), (0, 0), (0, 0))}
    for level in results["motion"]["severities"].values():
        level["drop_percent"] = None
    assert list(draw_robustness(results).axes[0].texts) == []


@pytest.fixture
def batches():
    """Two cases under every condition, with images whose intensity is the condition's index."""
    _, item = case("", (2, 5), (2, 5))
    return [
        [({"id": name, "artifact": c.artifact, "severity": c.severity}, {**item, "image": item["label"] + place})]
        for name in ("a", "b")
        for place, c in enumerate(CONDITIONS)
    ]


def test_the_handler_draws_the_written_results(tmp_path, batches):
    metrics = RobustnessMetrics(tmp_path, {"atrium": 1}, CONDITIONS, 0)
    pictures = RobustnessPictures(tmp_path, CONDITIONS, cases=1)
    evaluate([metrics, pictures], *batches)
    assert {path.name for path in tmp_path.rglob("*.png")} == {"robustness.png", "a.png"}
    for path in tmp_path.rglob("*.png"):
        assert matplotlib.image.imread(path).ndim == 3
    # Clean, and each artifact at moderate: the second of its three.
    shown = {name: float(stack[0].pictures["image"].min()) for name, stack in pictures.panels["a"].items()}
    assert shown == {"clean": 0, "motion": 2, "bias_field": 5}


def test_drawing_no_case(tmp_path, batches):
    metrics = RobustnessMetrics(tmp_path, {"atrium": 1}, CONDITIONS, 0)
    evaluate([metrics, RobustnessPictures(tmp_path, CONDITIONS, cases=0)], *batches, epochs=2)
    assert [path.name for path in tmp_path.rglob("*.png")] == ["robustness.png"]
