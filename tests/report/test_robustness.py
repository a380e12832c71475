"""Pictures of an evaluation of robustness: what is drawn is what was judged, at the right place."""

import matplotlib.image
import numpy as np
import pytest
import torch
from evaluations import evaluate
from matplotlib.colors import same_color
from monai.data import MetaTensor

from heartseg.artifacts import list_conditions
from heartseg.handlers import RobustnessMetrics
from heartseg.report import RobustnessPictures
from heartseg.report.figures import BLUE, MASK_COLOURS
from heartseg.report.robustness import draw_robustness, draw_sheet, planes

CONDITIONS = list_conditions(["motion", "bias_field"])
SIZE = (12, 10, 8)  # of the file, voxels of 3, 2 and 1 mm
FILE = torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0], dtype=torch.float64))


def item(value=0.0, turned=None, shift=0):
    """A case after postprocessing: the masks on the file's grid, the image on one of 1 mm that begins with it."""
    truth = torch.zeros(1, *SIZE)
    truth[:, 4:8, 3:7, 2:6] = 1
    image = torch.full((1, 36, 20, 8), value)
    image[:, 12:24, 6:14, 2:6] = 1 + value
    meta = {"anatomy": turned or "RAS"}
    file = MetaTensor(truth, affine=FILE)
    pred = MetaTensor(truth.roll(shift, 1), affine=FILE)
    # The first voxel of the file covers 3 mm: its centre is that of the image's second voxel.
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = torch.tensor([-1.0, -0.5, 0.0])
    return {"image": MetaTensor(image, affine=affine, meta=meta), "label": file, "pred": pred}


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


def test_a_thousandth_does_not_look_like_a_fall():
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


def test_masks_come_onto_the_image_and_planes_go_through_the_truth():
    axial, coronal = planes(item())
    for plane in (axial, coronal):
        bright = plane.pictures["image"] > 0.5
        assert bright.any() and not bright.all()
        assert np.array_equal(plane.pictures["truth"] > 0, bright)
        assert np.array_equal(plane.pictures["prediction"] > 0, bright)
    assert (axial.width, axial.height) == (36, 20)  # mm, the whole image: its margins are less than 40 mm
    assert (coronal.width, coronal.height) == (36, 8)


def test_an_error_shows_on_its_side():
    """Moved by a voxel of 3 mm towards higher indices of R: radiological, that is to the left."""
    axial = planes(item(shift=1))[0]
    truth, prediction = (np.flatnonzero(axial.pictures[name].any(axis=0)) for name in ("truth", "prediction"))
    assert list(truth - prediction) == [3] * 12


def test_a_turned_header_is_followed():
    """The header's R, A, S are really A, S, R: the masks' third axis is the image's first."""
    given = item(turned="ASR")
    world = torch.tensor([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    given["image"].affine = world @ given["image"].affine
    axial = planes(given)[0]
    assert np.array_equal(axial.pictures["truth"] > 0, axial.pictures["image"] > 0.5)
    assert axial.width == 8 and axial.height == 36


def test_a_sheet_has_a_panel_for_each_condition():
    panels = {name: planes(item()) for name in ("clean", "motion", "bias_field", "noise", "blur", "gamma")}
    dice = dict.fromkeys(panels, 0.5) | {"gamma": None}
    figure = draw_sheet("a: severe", panels, dice)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 12  # axial and coronal
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["clean: Dice 0.500", "motion: Dice 0.500", "bias field: Dice 0.500", "noise: Dice 0.500"] + [
        "blur: Dice 0.500",
        "gamma",
    ]
    colours = [line.get_edgecolor()[0] for line in shown[0].collections]
    assert all(same_color(found, MASK_COLOURS[name]) for found, name in zip(colours, MASK_COLOURS, strict=True))


def test_an_empty_truth_shows_the_whole_image():
    given = item()
    given["label"] = MetaTensor(torch.zeros(1, *SIZE), affine=FILE)
    axial, coronal = planes(given)
    assert axial.pictures["image"].shape == (20, 36) and coronal.pictures["image"].shape == (8, 36)
    draw_sheet("a", {"clean": [axial, coronal]}, {"clean": 0.0})


@pytest.fixture
def batches():
    """Two cases under every condition, the image as bright as the condition's place in the list."""
    return [
        [({"id": name, "artifact": c.artifact, "severity": c.severity}, item(float(place)))]
        for name in ("a", "b")
        for place, c in enumerate(CONDITIONS)
    ]


def test_the_handler_draws_from_what_was_written(tmp_path, batches):
    metrics = RobustnessMetrics(tmp_path, {"atrium": 1}, CONDITIONS, 0)
    pictures = RobustnessPictures(tmp_path, CONDITIONS, cases=1)
    evaluate([metrics, pictures], *batches)
    assert {path.name for path in tmp_path.rglob("*.png")} == {"robustness.png", "a.png"}
    for path in tmp_path.rglob("*.png"):
        assert matplotlib.image.imread(path).ndim == 3
    # Clean, and each artifact at moderate: the second of its three.
    shown = {name: float(stack[0].pictures["image"].min()) for name, stack in pictures.panels["a"].items()}
    assert shown == {"clean": 0, "motion": 2, "bias_field": 5}


def test_no_case_may_be_drawn(tmp_path, batches):
    metrics = RobustnessMetrics(tmp_path, {"atrium": 1}, CONDITIONS, 0)
    evaluate([metrics, RobustnessPictures(tmp_path, CONDITIONS, cases=0)], *batches, epochs=2)
    assert [path.name for path in tmp_path.rglob("*.png")] == ["robustness.png"]
