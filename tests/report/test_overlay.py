"""Masks over an image: colours, areas and outlines, legend."""

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from heartseg.report.overlay import LABEL_COLOURS, MASK_COLOURS, label_names, legend, panel, window

EXTENT = (0.0, 6.0, 0.0, 4.0)
CLASSES = {"right_ventricle": 1, "myocardium": 2}


def mask(*values):
    """Return a mask with one voxel of each value in a row of six."""
    found = np.zeros((4, 6), dtype=int)
    found[2, : len(values)] = values
    return found


@pytest.mark.parametrize(
    ("masks", "classes", "names"),
    [
        ([mask(1), mask()], None, {}),
        ([mask(1), mask(0, 2)], None, {1: "label 1", 2: "label 2"}),
        ([mask(3)], None, {3: "label 3"}),
        ([mask(1), mask()], {"atrium": 1}, {}),
        ([mask(1), mask()], CLASSES, {1: "right ventricle", 2: "myocardium"}),  # also classes that are not found
        ([mask(), mask()], {"background": 0, **CLASSES}, {1: "right ventricle", 2: "myocardium"}),
        ([mask(4)], CLASSES, {1: "right ventricle", 2: "myocardium", 4: "label 4"}),
        ([], None, {}),
    ],
)
def test_label_names(masks, classes, names):
    assert label_names(masks, classes) == names


def shown(name, many, **pictures):
    axes = Figure().subplots()
    panel(axes, {"image": np.ones((4, 6)), **pictures}, EXTENT, (0.0, 2.0), name, many)
    return axes


def colours(axes):
    """Return colours of areas and edges, in the order of drawing."""
    faces = [part.get_facecolor()[0] for part in axes.collections if len(part.get_facecolor())]
    edges = [part.get_edgecolor()[0] for part in axes.collections if not len(part.get_facecolor())]
    return faces, edges


def test_image_without_mask():
    axes = shown("image", many=False, truth=mask(1))
    assert not axes.collections
    assert axes.get_images()[0].get_clim() == (0, 2)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 6), (0, 4))


@pytest.mark.parametrize(("name", "outlines"), [("truth", 0), ("prediction", 1)])
def test_masks_are_filled_and_the_truth_outlines_others(name, outlines):
    faces, edges = colours(shown(name, many=False, truth=mask(1), prediction=mask(0, 1)))
    assert len(faces) == 1 and same_color(faces[0][:3], MASK_COLOURS[name])
    assert len(edges) == 1 + outlines
    assert same_color(edges[0][:3], MASK_COLOURS[name])
    assert same_color(edges[-1][:3], MASK_COLOURS["truth"])


def test_a_label_has_the_same_colour_in_every_mask():
    faces, edges = colours(shown("prediction", many=True, truth=mask(3, 2), prediction=mask(3, 1)))
    expected = [LABEL_COLOURS[label - 1] for label in (1, 3, 2, 3)]  # areas, then outlines
    assert all(same_color(face[:3], colour) for face, colour in zip(faces, expected[:2], strict=True))
    assert all(same_color(edge[:3], colour) for edge, colour in zip(edges, expected, strict=True))


def test_legends():
    names = {1: "right ventricle", 3: "label 3"}
    one, several = legend(["truth", "mask"], {}), legend({"truth": mask(1), "mask": mask(3)}, names)
    assert [handle.get_label() for handle in one] == ["truth", "mask", "outline of the truth"]
    assert [handle.get_label() for handle in several] == ["right ventricle", "label 3", "outline of the truth"]
    assert same_color(one[0].get_facecolor()[:3], MASK_COLOURS["truth"])
    assert same_color(several[1].get_facecolor()[:3], LABEL_COLOURS[2])
    assert [handle.get_label() for handle in legend(["truth"], {})] == ["truth"]
    assert legend([], {}) == []


def test_window():
    image = np.arange(201.0)
    assert window(image) == (2, 198)
    image[0], image[200] = np.nan, 1e9  # 1 to 199 and a hot voxel: percentiles of 200 values
    assert window(image) == (pytest.approx(1 + 1.99), pytest.approx(1 + 197.01))
    assert window(np.full(5, 3.0)) == (3.0, 3.0 + 1e-6)
    assert window(np.full(5, np.nan)) == (0.0, 1.0)
