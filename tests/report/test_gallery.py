"""The gallery of artifacts: slices, order, and the command."""

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scans import oriented, stored

import heartseg.report.gallery as gallery_module
from heartseg.artifacts import ARTIFACTS, LEVELS
from heartseg.errors import InputError
from heartseg.report.gallery import draw_gallery, read_scan


@pytest.fixture
def figure(monkeypatch):
    """Return the figure instead of writing it."""
    kept = []
    monkeypatch.setattr(gallery_module, "save", lambda figure, path, dpi: kept.append(figure))
    return kept


def small(codes="RAS"):
    voxels = np.random.default_rng(0).uniform(0, 100, (4, 5, 6)).astype(np.float32)
    turned = nib.Nifti1Image(voxels, np.diag([1.5, 2.5, 3.5, 1.0])).as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    )
    return voxels, MetaTensor(
        torch.from_numpy(np.ascontiguousarray(turned.dataobj))[None], affine=torch.from_numpy(turned.affine)
    )


def panels(figure):
    """Return the rows of pictures as arrays."""
    width = 1 + len(LEVELS)
    arrays = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    return [arrays[i : i + width] for i in range(0, len(arrays), width)]


def test_a_row_for_each_artifact_and_a_column_for_each_severity(figure):
    voxels, scan = small()
    draw_gallery(scan, "unused.png")
    rows = panels(figure[0])
    assert len(rows) == len(ARTIFACTS)
    axial, coronal = voxels[::-1, :, 3].T, voxels[::-1, 2, :].T
    for name, row in zip(ARTIFACTS, rows, strict=True):
        np.testing.assert_array_equal(row[0], coronal if name == "slice_dropout" else axial)
        assert not any(np.array_equal(row[0], other) for other in row[1:]) or name in ("slice_dropout", "motion")
    # With the same place and time, higher severities change the image more.
    changes = [float(np.abs(picture - row[0]).mean()) for row in rows[:1] for picture in row[1:]]
    assert changes == pytest.approx([changes[0], 2 * changes[0], 4 * changes[0]], rel=1e-4)


@pytest.mark.parametrize("codes", ["LPS", "AIR", "SAR"])
def test_storage_order_does_not_matter(figure, codes):
    voxels, scan = small(codes)
    draw_gallery(scan, "unused.png", ["gamma"])
    np.testing.assert_array_equal(panels(figure[0])[0][0], voxels[::-1, :, 3].T)
    assert figure[0].axes[0].get_aspect() == pytest.approx(2.5 / 1.5)


def test_titles_show_the_strengths(figure):
    draw_gallery(small()[1], "unused.png", ["motion", "blur"])
    titles = [axes.get_title() for axes in figure[0].axes]
    assert titles[:4] == ["clean", "mild: 5 deg, 2.5 mm", "moderate: 10 deg, 5 mm", "severe: 20 deg, 10 mm"]
    assert titles[4:] == ["clean", "mild: 0.5 mm", "moderate: 1 mm", "severe: 2 mm"]


def test_the_seed_decides_place_and_time(figure):
    for seed in (0, 0, 1):
        draw_gallery(small()[1], "unused.png", ["noise"], seed=seed)
    first, again, other = (panels(each)[0][1] for each in figure)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unknown_artifact_draws_nothing(tmp_path):
    with pytest.raises(InputError, match="did you mean motion"):
        draw_gallery(small()[1], tmp_path / "g.png", ["noise", "moton"])
    assert not list(tmp_path.iterdir())


def test_without_a_scan_there_is_a_phantom_chest():
    phantom = read_scan()
    assert phantom.shape[0] == 1 and min(phantom.shape[1:]) > 100 and phantom.dtype == torch.float32
    assert nib.aff2axcodes(np.asarray(phantom.affine)) == ("R", "A", "S")


def test_the_command_accepts_any_scan(heartseg, tmp_path):
    scan = stored(tmp_path / "a scan.nii.gz", oriented("PIR"))
    status, out, _ = heartseg("gallery", scan, "--out", tmp_path / "deep" / "g.png", "--artifact", "gamma")
    assert status == 0 and "g.png" in out
    assert matplotlib.image.imread(tmp_path / "deep" / "g.png").ndim == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "."], ".: is not the name of a picture"),
        (["--out", "g.xyz"], "g.xyz: is not the name of a picture; give one that ends in"),
        (["--out", "g"], "g: is not the name of a picture"),
        (["--seed", "99999999999"], "--seed"),
        (["none.nii.gz"], "none.nii.gz: there is no such file"),
        (["--artifact", "blurr"], "did you mean blur?"),
    ],
)
def test_errors_of_the_command(heartseg, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = heartseg("gallery", *words)
    assert status == 2 and message in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())
