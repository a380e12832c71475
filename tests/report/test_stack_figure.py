"""Stacks slice by slice: slices, field of view, directions, proportions and colours."""

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import same_color

from heartseg.errors import InputError
from heartseg.report.overlay import LABEL_COLOURS
from heartseg.report.planes import ras_case
from heartseg.report.stack_figure import draw_case, draw_stack, evenly

SHAPE = (40, 50, 8)
SPACING = (1.5, 2.0, 10.0)
CLASSES = {"right_ventricle": 1, "myocardium": 2, "left_ventricle": 3}


def draw(*args, slices=6, **more):
    return draw_stack(ras_case(*args, **more), slices)


def image():
    """Return an image with a different value in every voxel."""
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


def box(first, last, label=1):
    """Return a label map with a box in the slices from ``first`` to ``last``."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[15:25, 20:30, first : last + 1] = label
    return mask


def rows(figure):
    """Return the panels row by row."""
    columns = sum(bool(axes.get_title()) for axes in figure.axes)
    return np.reshape(figure.axes, (-1, columns))


def picture(axes):
    return np.asarray(axes.get_images()[0].get_array())


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def edges(axes):
    return [line.get_edgecolor()[0][:3] for line in axes.collections if not len(line.get_facecolor())]


@pytest.mark.parametrize(
    ("spacing", "stack"),
    [
        ((1.5625, 1.5625, 10), True),
        ((8, 1.4, 1.4), True),
        ((1, 1, 2.5), False),
        ((1, 2.6, 1), True),
        ((1, 2, 3), False),
        ((1.25, 1.25, 1.37), False),
    ],
)
def test_thick_slices_are_shown_one_by_one(spacing, stack):
    figure = draw_case(np.ones((12, 12, 12)), {}, spacing)
    assert [axes.get_ylabel() for axes in figure.axes][0] == ("image" if stack else "axial\n7 of 12")


@pytest.mark.parametrize(
    ("depth", "count", "places"),
    [(10, 6, [0, 2, 4, 5, 7, 9]), (9, 6, [0, 2, 3, 5, 6, 8]), (3, 6, [0, 1, 2]), (1, 6, [0]), (9, 1, [4]), (1, 1, [0])],
)
def test_slices_are_evenly_spaced_from_end_to_end(depth, count, places):
    assert evenly(depth, count) == places


def test_the_heart_is_shown_from_its_first_slice_to_its_last():
    """Truth in slices 2 to 4, mask in 3 to 6; a margin of 15 mm is 10 and 8 voxels."""
    figure = draw(image(), {"truth": box(2, 4), "mask": box(3, 6)}, SPACING, title="a")
    assert titles(figure) == [f"slice {number} of 8" for number in (3, 4, 5, 6, 7)]
    assert [axes.get_ylabel() for axes in rows(figure)[:, 0]] == ["image", "truth", "mask"]
    assert figure.get_suptitle() == "a"
    for index, column in zip(range(2, 7), rows(figure).T, strict=True):
        for axes in column:  # rows from the bottom up; R increases to the left
            np.testing.assert_array_equal(picture(axes), image()[5:35, 12:38, index].T[:, ::-1])
        assert [len(edges(axes)) for axes in column] == [0, index <= 4, (index >= 3) + (index <= 4)]


def test_number_of_slices():
    figure = draw(image(), {"truth": box(1, 7)}, SPACING, slices=4)
    assert titles(figure) == ["slice 2 of 8", "slice 4 of 8", "slice 6 of 8", "slice 8 of 8"]


def test_proportions_are_those_of_the_body():
    figure = draw(image(), {"truth": box(2, 4)}, SPACING)
    for axes in figure.axes:
        assert tuple(axes.get_images()[0].get_extent()) == (0, 30 * 1.5, 0, 26 * 2)
        assert axes.get_aspect() == 1


@pytest.mark.parametrize("codes", ["LPS", "SAR", "IRA", "PIL"])
def test_other_orientations_give_the_same_picture(codes):
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    arrays = {"image": image(), "truth": box(2, 4), "mask": box(3, 6)}
    stored = {name: nib.orientations.apply_orientation(array, turn) for name, array in arrays.items()}
    spacing = [SPACING["RLAPSI".index(code) // 2] for code in codes]
    straight = draw(arrays.pop("image"), arrays, SPACING)
    turned = draw(stored.pop("image"), stored, spacing, codes)
    assert titles(straight) == titles(turned)
    for one, other in zip(straight.axes, turned.axes, strict=True):
        np.testing.assert_array_equal(picture(one), picture(other))
        assert one.get_images()[0].get_extent() == other.get_images()[0].get_extent()


@pytest.mark.parametrize(("axis", "across", "up"), [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_slices_across_any_axis_of_the_body(axis, across, up):
    """Sagittal slices have the front on the left, others the patient's right; up is as in the body."""
    spacing = [10.0 if other == axis else 1.0 for other in range(3)]
    volume = np.moveaxis(image(), 2, axis)
    figure = draw(volume, {}, spacing, slices=8)
    assert len(figure.axes) == 8
    for place, axes in enumerate(figure.axes):
        cut = np.moveaxis(volume, (up, across, axis), (0, 1, 2))[:, ::-1, place]
        np.testing.assert_array_equal(picture(axes), cut)


def test_without_a_mask_whole_slices_of_the_whole_stack():
    empty = {name: np.zeros(SHAPE) for name in ("truth", "mask")}
    figure = draw(image(), empty, SPACING, classes=CLASSES)
    assert titles(figure) == [f"slice {number} of 8" for number in (1, 2, 4, 5, 7, 8)]
    assert all(picture(axes).shape == (50, 40) and not axes.collections for axes in figure.axes)


def test_one_slice():
    truth = box(0, 0)[..., :1]
    figure = draw(image()[..., :1], {"truth": truth, "mask": truth}, SPACING, title="a")
    assert titles(figure) == ["slice 1 of 1"]
    width, height = figure.get_size_inches()
    assert width > 7 and height < 10  # room for the legend of several classes


def test_a_class_has_the_same_colour_if_it_is_alone():
    names = ["right ventricle", "myocardium", "left ventricle", "outline of the truth"]
    figure = draw(image(), {"truth": box(2, 2, 1), "mask": box(2, 2, 3)}, SPACING, classes=CLASSES)
    _, truth, mask = rows(figure)[:, 0]
    assert [same_color(edge, LABEL_COLOURS[0]) for edge in edges(truth)] == [True]
    filled, outline = edges(mask)
    assert same_color(filled, LABEL_COLOURS[2]) and same_color(outline, LABEL_COLOURS[0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


@pytest.mark.parametrize(("shape", "masks"), [((60, 50, 9), 2), ((50, 60, 16), 2), ((60, 50, 9), 1), ((60, 50, 2), 2)])
def test_a_figure_fits_a_screen(shape, masks):
    truth = np.zeros(shape)
    truth[10:-10, 10:-10] = 1
    figure = draw(np.ones(shape), {str(number): truth for number in range(masks)}, (1.5, 1.5, 10))
    width, height = figure.get_size_inches() * 110
    assert 800 < width < 1900 and 500 < height < 1050


def test_shapes_must_agree():
    with pytest.raises(InputError, match="truth: has shape"):
        draw(image(), {"truth": np.ones((4, 4, 4))}, SPACING)


@pytest.mark.parametrize("frame", ["patient017_frame01", "patient030_frame02"])
def test_real_frames(real_data, frame):
    paths = [real_data / "ACDC" / folder / f"{frame}.nii.gz" for folder in ("imagesTr", "labelsTr")]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"no {paths[0]}")
    scan, truth = (nib.load(path) for path in paths)
    labels = np.asarray(truth.dataobj).astype(int)
    spacing = nib.affines.voxel_sizes(scan.affine)
    figure = draw_case(scan.get_fdata(), {"truth": labels, "mask": labels}, spacing, classes=CLASSES)
    heart = np.flatnonzero(labels.any(axis=(0, 1)))
    numbers = [int(title.split()[1]) - 1 for title in titles(figure)]
    assert len(numbers) == 6 and (numbers[0], numbers[-1]) == (heart[0], heart[-1])
    for number, (grey, one, other) in zip(numbers, rows(figure).T, strict=True):
        found = [LABEL_COLOURS[label - 1] for label in np.unique(labels[..., number]) if label]
        assert not edges(grey)
        for axes, expected in ((one, found), (other, found * 2)):
            assert all(same_color(edge, colour) for edge, colour in zip(edges(axes), expected, strict=True))
