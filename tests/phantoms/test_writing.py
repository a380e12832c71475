import json
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine, obliquity, voxel_sizes

from heartseg.errors import InputError
from heartseg.phantoms.shapes import Blend, Canvas, Ellipsoid, Tube, rotation, store
from heartseg.phantoms.writing import atrium_phantom, write_phantoms


def draw(seed: int = 0, **grid: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return atrium_phantom(np.random.default_rng([7, seed]), **{"size": "small", "spacing": (3, 3, 3), **grid})


def millilitres(label: np.ndarray, affine: np.ndarray) -> float:
    return float(label.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)


def centroid(label: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return apply_affine(affine, np.argwhere(label)).mean(0)


def test_the_seed_determines_the_arrays() -> None:
    first, again, other = draw(0), draw(0), draw(1)
    for a, b in zip(first, again, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])
    assert not np.allclose(first[2], other[2])


def test_image_and_label() -> None:
    image, label, affine = draw(axcodes="RAS", shape=(56, 55, 54))
    assert (image.shape, label.shape, affine.shape) == ((56, 55, 54),) * 2 + ((4, 4),)
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert image.min() >= 0 and np.isfinite(image).all()
    assert set(np.unique(label)) == {0, 1}
    assert voxel_sizes(affine) == pytest.approx([3, 3, 3])


def test_the_atrium_is_one_piece_of_human_size_that_no_threshold_finds() -> None:
    from scipy.ndimage import label as components

    for seed in range(8):
        image, label, affine = draw(seed)
        assert 30 < millilitres(label, affine) < 110
        assert components(label, np.ones((3, 3, 3)))[1] == 1
        faces = [np.take(label, end, axis) for axis in range(3) for end in (0, -1)]
        assert not any(face.any() for face in faces)  # not cut off by the border
        inside = [image > level for level in np.quantile(image, np.linspace(0.5, 0.999, 50))]
        best = max(2 * (mask & (label > 0)).sum() / (mask.sum() + label.sum()) for mask in inside)
        assert best < 0.5


def test_anatomy_does_not_depend_on_the_grid() -> None:
    fine, coarse = draw(3, spacing=(1.8, 1.8, 1.8)), draw(3, spacing=(2, 2.5, 4))
    assert millilitres(*fine[1:]) == pytest.approx(millilitres(*coarse[1:]), rel=0.02)
    assert centroid(*fine[1:]) == pytest.approx(centroid(*coarse[1:]), abs=0.5)


@pytest.mark.parametrize("axcodes", ["LPS", "PIR", "ASR", "SAL"])
def test_axcodes_only_change_the_storage(axcodes: str) -> None:
    image, label, affine = draw(4, axcodes="RAS")
    stored_image, stored_label, stored_affine = draw(4, axcodes=axcodes)
    assert "".join(nib.aff2axcodes(stored_affine)) == axcodes
    assert centroid(stored_label, stored_affine) == pytest.approx(centroid(label, affine), abs=1e-3)
    for stored, ras in ((stored_image, image), (stored_label, label)):
        canonical = nib.as_closest_canonical(nib.Nifti1Image(stored, stored_affine))
        assert np.array_equal(np.asarray(canonical.dataobj), ras)
        assert np.allclose(canonical.affine, affine)


def test_orientation_and_obliqueness_vary() -> None:
    affines = [draw(seed, spacing=(8, 8, 8))[2] for seed in range(24)]
    assert len({nib.aff2axcodes(affine) for affine in affines}) > 12
    tilts = [np.rad2deg(obliquity(affine).max()) for affine in affines]
    assert 3 < sum(tilt > 0.5 for tilt in tilts) < 20
    assert 2 < max(tilts) < 10.1


@pytest.mark.parametrize("seed", range(4))
def test_left_is_left(seed: int) -> None:
    """Apex to the left, descending aorta left of the spine, liver on the right: in world coordinates."""
    image, label, affine = draw(seed, size="full", spacing=(4, 4, 4))
    bright = image > 0.7 * np.median(image[label > 0])
    middle = centroid(label, affine)
    place = apply_affine(affine, np.argwhere(np.ones_like(bright))).reshape(*bright.shape, 3) - middle

    def box(x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> np.ndarray:
        limits = zip(np.moveaxis(place, -1, 0), (x, y, z), strict=True)
        return np.logical_and.reduce([(low < axis) & (axis < high) for axis, (low, high) in limits])

    midline = 8  # the left atrium is about 8 mm left of it
    heart = place[bright & box((-100, 100), (15, 75), (-60, -15))][:, 0] - midline
    assert -np.quantile(heart, 0.02) > np.quantile(heart, 0.98) + 10
    aorta = bright & box((-40, 50), (-55, -30), (-25, 25))
    assert place[aorta][:, 0].mean() < midline - 10
    liver = image[box((midline + 45, midline + 75), (-40, 0), (-110, -85))].mean()
    other = image[box((midline - 75, midline - 45), (-40, 0), (-110, -85))].mean()
    assert liver > 1.2 * other


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "set", cases=3, seed=5, size="small")


def test_decathlon_layout(written: Path) -> None:
    names = ["la_001.nii.gz", "la_002.nii.gz", "la_003.nii.gz"]
    assert sorted(path.relative_to(written).as_posix() for path in written.rglob("*.*")) == sorted(
        [f"{folder}/{name}" for folder in ("imagesTr", "labelsTr") for name in names]
        + ["imagesTs/la_004.nii.gz", "dataset.json", "phantom.json"]
    )
    content = json.loads((written / "dataset.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"0": "background", "1": "left atrium"}
    assert content["training"] == [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names]
    assert content["test"] == ["./imagesTs/la_004.nii.gz"]
    assert (content["numTraining"], content["numTest"]) == (3, 1)
    record = json.loads((written / "phantom.json").read_text(encoding="utf-8"))
    assert (record["kind"], record["cases"], record["seed"], record["size"]) == ("atrium", 3, 5, "small")


def test_headers(written: Path) -> None:
    for path in (written / "imagesTr").iterdir():
        image, label = nib.load(path), nib.load(written / "labelsTr" / path.name)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        assert image.shape == label.shape and np.array_equal(image.affine, label.affine)
        for header in (image.header, label.header):
            assert header.get_xyzt_units()[0] == "mm"
            assert int(header["qform_code"]) == int(header["sform_code"]) == 1
            assert np.allclose(header.get_qform(), header.get_sform(), atol=1e-3)
            assert np.allclose(header.get_zooms(), voxel_sizes(image.affine), rtol=1e-5)
        assert all(2.0 <= zoom <= 2.6 for zoom in image.header.get_zooms())


def test_a_case_does_not_depend_on_the_number_of_cases(written: Path, tmp_path: Path) -> None:
    fewer = write_phantoms(tmp_path, cases=1, seed=5, size="small")
    for name in ("imagesTr/la_001.nii.gz", "labelsTr/la_001.nii.gz"):
        assert (fewer / name).read_bytes() == (written / name).read_bytes()
    # Case 2 has no label in the smaller set; the scan is the same.
    assert (fewer / "imagesTs/la_002.nii.gz").read_bytes() == (written / "imagesTr/la_002.nii.gz").read_bytes()


def test_repeated_call_keeps_existing_files_and_adds_missing_ones(tmp_path: Path) -> None:
    out = write_phantoms(tmp_path / "a" / "b", cases=1, size="small")
    lost, kept = out / "labelsTr" / "la_001.nii.gz", out / "imagesTs" / "la_002.nii.gz"
    content, time = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    write_phantoms(out, cases=1, size="small")
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == time


def test_other_data_is_refused(written: Path, tmp_path: Path) -> None:
    for other in ({"seed": 6, "cases": 3}, {"seed": 5, "cases": 4}):
        with pytest.raises(InputError, match="holds other phantoms"):
            write_phantoms(written, size="small", **other)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other data"):
        write_phantoms(tmp_path, cases=1, size="small")
    with pytest.raises(InputError, match="is a file, not a folder; use another output folder"):
        write_phantoms(tmp_path / "notes.txt", cases=1, size="small")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").rename(tmp_path / "phantom.json")
    with pytest.raises(InputError, match="holds other phantoms"):
        write_phantoms(tmp_path, cases=1, size="small")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "atrum"}, "there are: atrium, cine"),
        ({"cases": 0}, "cases 0"),
        ({"seed": -1}, "seed -1"),
        ({"size": "tiny"}, "full or small"),
    ],
)
def test_invalid_arguments_write_nothing(wrong: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        write_phantoms(tmp_path / "out", **wrong)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"axcodes": "RAX"}, {"axcodes": "RAA"}, {"axcodes": ""}, {"spacing": (1, 2)}, {"spacing": (1, 1, 0)}]
    + [{"shape": (0, 8, 8)}, {"shape": (8, 8)}, {"size": "huge"}],
)
def test_invalid_grids(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} .*: "):
        draw(**{"shape": (8, 8, 8), **wrong})


def test_distances_of_shapes() -> None:
    points = np.array([[0, 0, 0], [10, 0, 0], [4, 0, 0], [0, 7, 0]], np.float32).T.reshape(3, 4, 1, 1)
    ball = Ellipsoid(np.zeros(3), (4, 4, 4))
    assert ball.distance(points).ravel() == pytest.approx([-4, 6, 0, 3], abs=1e-5)
    # After a quarter turn about the third axis, the long semi-axis is along the second.
    turned = Ellipsoid(np.zeros(3), (9, 4, 4), rotation((0, 0, 90)))
    assert turned.distance(points).ravel() == pytest.approx([-4, 6, 0, -2], abs=1e-5)
    assert np.array(turned.box()) == pytest.approx(np.array([[-4, -9, -4], [4, 9, 4]]))
    half = Ellipsoid(np.zeros(3), (4, 4, 4), cut=(np.array([1.0, 0, 0]), np.array([1.0, 0, 0])))
    assert half.distance(points).ravel() == pytest.approx([-1, 9, 3, 3], abs=1e-5)
    tube = Tube([[0, 0, 0], [8, 0, 0]], [1, 3])
    assert tube.distance(points).ravel() == pytest.approx([-1, -1, -2, 6], abs=1e-5)
    assert np.array(tube.box()) == pytest.approx(np.array([[-1, -3, -3], [11, 3, 3]]))
    apart = Blend([ball, Ellipsoid(np.array([100.0, 0, 0]), (4, 4, 4))], 2)
    assert apart.distance(points).ravel() == pytest.approx(ball.distance(points).ravel(), abs=1e-4)


def test_paint_gives_partial_volume_and_the_right_volume() -> None:
    canvas = Canvas(np.random.default_rng(0), (20, 20, 20), np.eye(4), np.zeros(3), np.ones(3), warp=0.0)
    canvas.paint(Ellipsoid(np.full(3, 9.5), (6, 6, 6)), 2.0, label=3)
    ball = 4 / 3 * np.pi * 6**3
    assert (canvas.label == 3).sum() == pytest.approx(ball, rel=0.03)
    assert canvas.image.sum() == pytest.approx(2 * ball, rel=0.02)
    assert np.all(np.diff(canvas.image[10, 10, 10:]) <= 0)
    assert 0 < canvas.image[9, 9, 15] < 2 == canvas.image[9, 9, 9]
    canvas.paint(Ellipsoid(np.full(3, 9.5), (3, 3, 3)), 1.0, label=None)
    assert canvas.label[9, 9, 9] == 3 and canvas.image[9, 9, 9] == 1
    canvas.paint(Ellipsoid(np.full(3, 500.0), (3, 3, 3)), 1.0, label=1)  # outside the grid: no effect
    assert not (canvas.label == 1).any()


def test_store_all_48_orders() -> None:
    volume = np.arange(24.0).reshape(2, 3, 4)
    affine = np.diag([2.0, 3, 4, 1])
    affine[:3, 3] = 5, -6, 7
    orders = {"RAS"}
    for seed in range(400):
        rng = np.random.default_rng(seed)
        orders.add("".join(("LR", "PA", "IS")[axis][rng.integers(2)] for axis in rng.permutation(3)))
    assert len(orders) == 48
    for codes in sorted(orders):
        moved, (stored,) = store(codes, affine, volume)
        assert "".join(nib.aff2axcodes(moved)) == codes
        for index in np.argwhere(stored == volume[1, 2, 3]):
            assert apply_affine(moved, index) == pytest.approx(apply_affine(affine, [1, 2, 3]))


def test_rotation_is_right_handed() -> None:
    assert rotation((0, 0, 90)) @ [1, 0, 0] == pytest.approx([0, 1, 0])
    assert rotation((90, 0, 0)) @ [0, 1, 0] == pytest.approx([0, 0, 1])
    assert rotation((0, 90, 0)) @ [0, 0, 1] == pytest.approx([1, 0, 0])
    angles = [rotation((10, 20, angle)) for angle in (0, 15, 30)]
    assert all(np.allclose(b, rotation((0, 0, 15)) @ a) for a, b in pairwise(angles))
