"""Sheets of a case under several conditions: masks, positions of planes, colours by class."""

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from monai.data import MetaTensor

from heartseg.report.condition_sheet import case_planes, draw_sheet
from heartseg.report.overlay import LABEL_COLOURS, MASK_COLOURS

CLASSES = {"right_ventricle": 1, "myocardium": 2, "left_ventricle": 3}
SIZE = (12, 10, 8)  # voxels of 3, 2 and 1 mm, of the file
FILE = torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0], dtype=torch.float64))


def item(value=0.0, turned=None, shift=0):
    """Return a case after postprocessing: masks on the file's grid, image on one of 1 mm with the same start."""
    truth = torch.zeros(1, *SIZE)
    truth[:, 4:8, 3:7, 2:6] = 1
    image = torch.full((1, 36, 20, 8), value)
    image[:, 12:24, 6:14, 2:6] = 1 + value
    meta = {"anatomy": turned or "RAS"}
    file = MetaTensor(truth, affine=FILE)
    pred = MetaTensor(truth.roll(shift, 1), affine=FILE)
    # The centre of the file's first voxel, of 3 mm, is that of the image's second voxel.
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = torch.tensor([-1.0, -0.5, 0.0])
    return {"image": MetaTensor(image, affine=affine, meta=meta), "label": file, "pred": pred}


def test_masks_match_the_image_and_planes_go_through_the_truth():
    axial, coronal = case_planes(item())
    for plane in (axial, coronal):
        bright = plane.pictures["image"] > 0.5
        assert bright.any() and not bright.all()
        assert np.array_equal(plane.pictures["truth"] > 0, bright)
        assert np.array_equal(plane.pictures["prediction"] > 0, bright)
    assert (axial.width, axial.height) == (36, 20)  # mm, the whole image: its margins are less than 40 mm
    assert (coronal.width, coronal.height) == (36, 8)


def test_an_error_is_on_the_right_side():
    """A shift by a voxel of 3 mm along R is to the left, by radiological convention."""
    axial = case_planes(item(shift=1))[0]
    truth, prediction = (np.flatnonzero(axial.pictures[name].any(axis=0)) for name in ("truth", "prediction"))
    assert list(truth - prediction) == [3] * 12


def test_a_corrected_header_is_used():
    """The header's R, A, S are really A, S, R, so the masks' third axis is the image's first."""
    given = item(turned="ASR")
    world = torch.tensor([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    given["image"].affine = world @ given["image"].affine
    axial = case_planes(given)[0]
    assert np.array_equal(axial.pictures["truth"] > 0, axial.pictures["image"] > 0.5)
    assert axial.width == 8 and axial.height == 36


def test_a_sheet_has_a_panel_for_each_condition():
    panels = {name: case_planes(item()) for name in ("clean", "motion", "bias_field", "noise", "blur", "gamma")}
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
    axial, coronal = case_planes(given)
    assert axial.pictures["image"].shape == (20, 36) and coronal.pictures["image"].shape == (8, 36)
    draw_sheet("a", {"clean": [axial, coronal]}, {"clean": 0.0})


def stack(first=1, last=6):
    """Return eight slices of 10 mm along the first axis, as bright as their index, some with three classes."""
    affine = torch.diag(torch.tensor([10.0, 1.5, 1.5, 1.0], dtype=torch.float64))
    image = torch.arange(8.0)[None, :, None, None].expand(1, 8, 40, 50).clone()
    truth = torch.zeros(1, 8, 40, 50)
    for label, (start, stop) in enumerate([(15, 18), (18, 22), (22, 25)], start=1):
        truth[:, first : last + 1, start:stop, 20:30] = label
    masks = {name: MetaTensor(truth.roll(shift, 2), affine=affine) for name, shift in (("label", 0), ("pred", 1))}
    return {"image": MetaTensor(image, affine=affine), **masks}


def test_a_stack_shows_two_slices_and_a_plane_across_all():
    """The second and the fifth of slices 1 to 6; a margin of 15 mm is 10 voxels, or 2 slices."""
    low, high, across = case_planes(stack())
    assert [set(np.unique(plane.pictures["image"])) for plane in (low, high)] == [{2.0}, {5.0}]
    assert low.pictures["image"].shape == high.pictures["image"].shape == (30, 30)
    assert (low.width, low.height) == (45, 45)
    assert np.array_equal(across.pictures["image"][:, 0], np.arange(8))  # rows from the bottom up
    assert across.pictures["image"].shape == (8, 30) and (across.width, across.height) == (45, 80)
    # A increases to the left: classes 1, 2, 3 appear as 3, 2, 1.
    expected = [0] * 10 + [3] * 3 + [2] * 4 + [1] * 3 + [0] * 10
    assert list(low.pictures["truth"][15]) == list(across.pictures["truth"][3]) == expected
    assert list(low.pictures["prediction"][15]) == expected[1:] + [0]


@pytest.mark.parametrize(("first", "last", "shown"), [(4, 4, [4]), (3, 4, [3, 4]), (5, 4, [2, 6])])
def test_a_stack_with_few_or_no_slices_of_the_heart(first, last, shown):
    *slices, across = case_planes(stack(first, last))
    assert [plane.pictures["image"][0, 0] for plane in slices] == shown
    assert bool(across.pictures["truth"].any()) == (first <= last)
    draw_sheet("a", {"clean": [*slices, across]}, {"clean": None}, CLASSES)


def test_several_classes_have_their_colours():
    """The filled prediction and the outline of the truth have the colour of the class."""
    figure = draw_sheet(
        "a", {"clean": case_planes(stack()), "noise": case_planes(stack())}, {"clean": 1.0, "noise": 0.5}, CLASSES
    )
    for axes in (axes for axes in figure.axes if axes.images):
        edges = [line.get_edgecolor()[0] for line in axes.collections if len(line.get_edgecolor())]
        assert all(same_color(found, LABEL_COLOURS[i % 3]) for i, found in enumerate(edges))
        assert len(edges) == 6
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["prediction", "right ventricle", "myocardium", "left ventricle", "outline of the truth"]
