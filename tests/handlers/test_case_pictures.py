"""Pictures of an evaluation: the cases, the masks, and the anatomical orientation."""

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.figure import Figure
from monai.data import MetaTensor

import heartseg.handlers.case_pictures as pictures_module
from heartseg.data import AnatomicalAxesd, LoadScand
from heartseg.errors import InputError
from heartseg.handlers import CasePictures

SHAPE = (16, 20, 24)


@pytest.fixture
def drawn(monkeypatch):
    """Record what would be drawn, without drawing it."""
    calls = []

    def draw(image, masks, **options):
        calls.append({"image": image, "masks": masks, **options})
        return Figure()

    monkeypatch.setattr(pictures_module, "draw_case", draw)
    monkeypatch.setattr(pictures_module, "save", lambda figure, path: calls[-1].update(path=path))
    return calls


def truth():
    mask = torch.zeros(1, *SHAPE)
    mask[:, 4:10, 5:12, 6:14] = 1
    return mask


def stored(path, affine):
    """Save a scan without symmetry: bright where the truth is, brighter along every axis."""
    ramp = np.add.outer(np.add.outer(np.arange(16) * 2, np.arange(20)), np.arange(24) * 3)
    nib.save(nib.Nifti1Image((ramp + 100 * truth()[0].numpy()).astype(np.int16), affine), path)
    return path


def case(folder, identity, affine=None, anatomy="header"):
    """Return a case as at the end of an evaluation: the image may be resampled, the masks are on the file's grid."""
    path = stored(folder / f"{identity}.nii.gz", np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine)
    image = AnatomicalAxesd("image", anatomy=anatomy)(LoadScand("image")({"image": path}))["image"]
    moved = MetaTensor(image.as_tensor()[:, ::2], meta=image.meta)
    pred = truth().roll(1, 2) * 0.9999999
    return {"id": identity}, {"image": moved, "pred": MetaTensor(pred), "label": MetaTensor(truth())}


def evaluate(handler, *batches, epochs=1):
    def step(engine, batch):
        engine.state.batch = [entry for entry, _ in batch]
        return [item for _, item in batch]

    engine = Engine(step)
    handler.attach(engine)
    for _ in range(epochs):
        engine.run(list(batches))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_first_cases_are_drawn_under_their_names(tmp_path, drawn):
    cases = [case(tmp_path, identity) for identity in ("la_003", "la_004", "la_005", "la_007")]
    evaluate(CasePictures(tmp_path / "pictures", cases=3), cases[:2], cases[2:])
    assert [call["path"].name for call in drawn] == ["la_003.png", "la_004.png", "la_005.png"]
    assert [call["title"] for call in drawn] == ["la_003", "la_004", "la_005"]


def test_an_evaluation_that_fails_leaves_no_picture(tmp_path):
    cases = [case(tmp_path, "a"), ({"id": "b"}, {})]  # the second has no data
    handler = CasePictures(tmp_path / "pictures")
    with pytest.raises(KeyError):
        evaluate(handler, cases[:1], cases[1:])
    assert handler.drawn == 2 and not (tmp_path / "pictures").exists()
    evaluate(handler, cases[:1])
    assert names(tmp_path / "pictures") == ["a.png"]


def test_every_evaluation_draws_again(tmp_path, drawn):
    evaluate(CasePictures(tmp_path, cases=1), [case(tmp_path, "a"), case(tmp_path, "b")], epochs=2)
    assert [call["title"] for call in drawn] == ["a", "a"]


def test_no_pictures(tmp_path, drawn):
    evaluate(CasePictures(tmp_path / "pictures", cases=0), [case(tmp_path, "a")])
    assert not drawn and not (tmp_path / "pictures").exists()


def test_the_scan_is_drawn_on_its_own_grid(tmp_path, drawn):
    evaluate(CasePictures(tmp_path), [case(tmp_path, "a")])
    [call] = drawn
    np.testing.assert_array_equal(call["image"], nib.load(tmp_path / "a.nii.gz").get_fdata())
    assert list(call["masks"]) == ["truth", "mask"]  # the mask named truth is outlined in every column
    np.testing.assert_array_equal(call["masks"]["truth"], truth()[0])
    np.testing.assert_array_equal(call["masks"]["mask"], truth()[0].roll(1, 1))
    assert (tuple(call["spacing"]), call["axcodes"]) == ((1, 2, 3), "RAS")


@pytest.mark.parametrize(("anatomy", "axcodes"), [("header", "PSL"), ("ASR", "IRP"), ("LPS", "ASR")])
def test_axes_are_those_of_the_anatomy(tmp_path, drawn, anatomy, axcodes):
    """The array runs to the header's back, top and left; the anatomy says what these really are."""
    affine = np.array([[0, 0, -3, 0], [-1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1.0]])
    evaluate(CasePictures(tmp_path), [case(tmp_path, "a", affine, anatomy)])
    [call] = drawn
    assert (tuple(call["spacing"]), call["axcodes"]) == ((1, 2, 3), axcodes)


def test_a_wrong_header_gives_the_same_picture(tmp_path):
    """The same voxels, A, S, R, with a true header, with one that says R, A, S, and with that one trusted."""
    true = np.array([[0, 0, 3, 0], [1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1.0]])
    wrong = np.diag([1.0, 2.0, 3.0, 1.0])
    for folder, affine, anatomy in (("true", true, "header"), ("wrong", wrong, "ASR"), ("misread", wrong, "header")):
        (tmp_path / folder).mkdir()
        evaluate(CasePictures(tmp_path / folder / "out"), [case(tmp_path / folder, "a", affine, anatomy)])
        assert names(tmp_path / folder / "out") == ["a.png"]
    true, wrong, misread = (
        matplotlib.image.imread(tmp_path / folder / "out" / "a.png") for folder in ("true", "wrong", "misread")
    )
    np.testing.assert_array_equal(wrong, true)
    assert misread.shape != true.shape or not np.array_equal(misread, true)


def test_the_title_gives_the_dice_of_each_class(tmp_path, drawn):
    """The truth's box of 6 x 7 x 8 voxels and the mask, moved by one along the second axis, share 6 x 6 x 8."""
    evaluate(CasePictures(tmp_path, classes={"left_atrium": 1, "none": 2}), [case(tmp_path, "a")])
    [call] = drawn
    assert call["title"] == "a\nDice: left atrium 0.857, none 1.000"
    assert call["classes"] == {"left_atrium": 1, "none": 2}


def test_a_stack_is_drawn_slice_by_slice(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(pictures_module, "save", lambda figure, path: figures.append(figure))
    affine = np.diag([1.0, 1.0, 8.0, 1.0])
    evaluate(CasePictures(tmp_path, slices=3), [case(tmp_path, "a", affine)])
    evaluate(CasePictures(tmp_path), [case(tmp_path, "b")])
    titles = [[axes.get_title() for axes in figure.axes if axes.get_title()] for figure in figures]
    assert titles[0] == ["slice 7 of 24", "slice 11 of 24", "slice 14 of 24"]  # the truth is in 7 to 14
    assert titles[1] == ["image", "truth", "mask"]  # three planes, of 1, 2 and 3 mm


def test_less_than_one_slice_is_refused(tmp_path):
    with pytest.raises(InputError, match="slices: 0 shows nothing"):
        CasePictures(tmp_path, slices=0)
