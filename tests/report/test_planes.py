"""Three planes of a case: positions, directions and proportions."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from heartseg.errors import InputError
from heartseg.report.figures import save
from heartseg.report.overlay import MASK_COLOURS
from heartseg.report.planes import draw_planes, ras_case


def draw(*args, **more):
    return draw_planes(ras_case(*args, **more))


def grey(figure: Figure, plane: int, column: int = 0) -> np.ndarray:
    """Return the picture of a panel with its top row first."""
    columns = len(figure.axes) // 3
    image = figure.axes[plane * columns + column].get_images()[0]
    assert image.origin == "lower"
    return np.asarray(image.get_array())[::-1]


def test_planes_are_radiological():
    """Marks at the patient's left, front and top: left is drawn right, the front of a sagittal slice left."""
    image = np.zeros((5, 7, 9), dtype=np.float32)
    image[0, 3, 4] = 1  # index 0 of R is the far left
    image[2, 6, 4] = 2  # the front
    image[2, 3, 8] = 3  # the top
    figure = draw(image, {}, (1, 1, 1))  # no mask: the planes cross in the middle, (2, 3, 4)
    axial, coronal, sagittal = (grey(figure, plane) for plane in range(3))
    assert axial.shape == (7, 5)
    assert coronal.shape == (9, 5)
    assert sagittal.shape == (9, 7)
    assert axial[3, 4] == 1  # right edge
    assert axial[0, 2] == 2  # top edge
    assert coronal[4, 4] == 1
    assert coronal[0, 2] == 3
    assert sagittal[4, 0] == 2  # left edge
    assert sagittal[0, 3] == 3
    letters = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert letters == [list("RLPA"), list("RLIS"), list("APIS")]


def test_other_orientations_give_the_same_picture():
    rng = np.random.default_rng(0)
    image = rng.random((6, 7, 8), dtype=np.float32)
    mask = np.zeros((6, 7, 8), dtype=np.uint8)
    mask[1:3, 2:4, 5:7] = 1
    straight = draw(image, {"truth": mask}, (1.0, 2.0, 3.0))
    # the same volume stored with axes A, S, L; the spacing follows the axes
    turned = draw(
        image.transpose(1, 2, 0)[..., ::-1],
        {"truth": mask.transpose(1, 2, 0)[..., ::-1]},
        (2.0, 3.0, 1.0),
        axcodes="ASL",
    )
    for plane in range(3):
        np.testing.assert_array_equal(grey(straight, plane), grey(turned, plane))
        one, two = straight.axes[2 * plane], turned.axes[2 * plane]
        assert one.get_images()[0].get_extent() == two.get_images()[0].get_extent()


def test_spacing_gives_true_proportions():
    figure = draw(np.ones((10, 20, 5)), {}, (1.0, 1.5, 8.0))
    extents = [axes.get_images()[0].get_extent() for axes in figure.axes]
    assert [tuple(extent) for extent in extents] == [(0, 10, 0, 30), (0, 10, 0, 40), (0, 30, 0, 40)]
    assert all(axes.get_aspect() == 1 for axes in figure.axes)


def test_planes_go_through_the_truth_and_show_every_mask():
    image = np.zeros((200, 200, 200), dtype=np.float32)
    truth = np.zeros(image.shape, dtype=bool)
    truth[99:102, 109:112, 119:122] = True
    far = np.zeros(image.shape, dtype=bool)
    far[20, 110, 120] = True
    figure = draw(image, {"prediction": far, "truth": truth}, (1, 1, 1))
    labels = [axes.get_ylabel() for axes in figure.axes[::3]]
    assert labels == ["axial\n121 of 200", "coronal\n111 of 200", "sagittal\n101 of 200"]
    # 40 mm around both masks: 20 - 40 is clipped to 0, 101 + 40 is the last one shown; 109 - 40 to 111 + 40
    assert tuple(figure.axes[0].get_images()[0].get_extent()) == (0, 142, 0, 83)


def test_planes_go_through_the_prediction_if_the_truth_is_empty():
    prediction = np.zeros((9, 9, 9), dtype=np.uint8)
    prediction[1, 2, 3] = 1
    figure = draw(np.ones((9, 9, 9)), {"truth": np.zeros((9, 9, 9)), "prediction": prediction}, (1, 1, 1))
    assert [axes.get_ylabel()[-6:] for axes in figure.axes[::3]] == ["4 of 9", "3 of 9", "2 of 9"]


def test_prediction_has_the_outline_of_the_truth():
    truth, prediction = np.zeros((2, 12, 12, 12), dtype=np.uint8)
    truth[3:8, 3:8, 3:8] = 1
    prediction[5:11, 3:8, 3:8] = 1
    figure = draw(np.ones((12, 12, 12)), {"truth": truth, "prediction": prediction}, (1, 1, 1))

    def lines(axes):
        return {tuple(c.get_edgecolor()[0][:3]) for c in axes.collections if len(c.get_edgecolor())}

    blue, orange = to_rgb(MASK_COLOURS["truth"]), to_rgb(MASK_COLOURS["prediction"])
    for image_only, with_truth, with_prediction in np.reshape(figure.axes, (3, 3)):
        assert not image_only.collections
        assert lines(with_truth) == {blue}
        assert lines(with_prediction) == {blue, orange}
    # R increases to the left: voxels 3 to 7 of 12 fill 12 - 8 = 4 mm to 12 - 3 = 9 mm from the left edge
    outline = figure.axes[1].collections[-1].get_paths()[0].vertices
    assert (outline[:, 0].min(), outline[:, 0].max()) == (4.0, 9.0)
    assert (outline[:, 1].min(), outline[:, 1].max()) == (3.0, 8.0)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["truth", "prediction", "outline of the truth"]


def test_several_labels_have_different_colours():
    mask = np.zeros((8, 8, 8), dtype=np.uint8)
    mask[2:4], mask[4:6] = 1, 3
    figure = draw(np.ones((8, 8, 8)), {"prediction": mask}, (1, 1, 1))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["label 1", "label 3"]
    colours = {patch.get_facecolor() for patch in figure.legends[0].get_patches()}
    assert len(colours) == 2


def test_window_runs_between_the_percentiles():
    image = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    image[0, 0, 0] = 1e9  # a single hot voxel does not darken the rest
    low, high = draw(image, {}, (1, 1, 1)).axes[0].get_images()[0].get_clim()
    assert 0 < low < 20
    assert 980 < high < 1000


def test_constant_and_nan_images_are_drawn(tmp_path):
    for name, value in (("flat", 3.0), ("nan", np.nan)):
        save(draw(np.full((4, 4, 4), value), {}, (1, 1, 1), title=name), tmp_path / f"{name}.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat.png", "nan.png"]


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [((4, 4), (4, 4), "image: has shape"), ((4, 4, 4), (4, 4, 5), "truth: has shape")],
)
def test_wrong_shapes(image, mask, words):
    with pytest.raises(InputError, match=words):
        draw(np.ones(image), {"truth": np.ones(mask)}, (1, 1, 1))
