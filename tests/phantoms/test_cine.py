"""Cine phantoms: their volumes, their anatomy, and ACDC's layout on disk."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import obliquity, voxel_sizes
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as components

from heartseg.data.cases import find_cases
from heartseg.errors import InputError
from heartseg.phantoms.cine import GROUPS, CinePhantom, Patient, cine_phantom, draw_patient
from heartseg.phantoms.shapes import Ellipsoid, Sheared, rician, scan
from heartseg.phantoms.writing import write_phantoms

RIGHT, WALL, LEFT = 1, 2, 3
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[..., None]  # neighbours within a slice


def draw(group: str, seed: int = 0, size: str = "small") -> tuple[Patient, CinePhantom]:
    rng = np.random.default_rng([11, seed])
    patient = draw_patient(rng, group)
    return patient, cine_phantom(rng, patient, size=size)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Patient, CinePhantom]]:
    """Two patients of each group."""
    return [draw(group, seed) for seed, group in enumerate(2 * list(GROUPS))]


def millilitres(label: np.ndarray, affine: np.ndarray) -> list[float]:
    voxel = abs(np.linalg.det(affine[:3, :3])) / 1000
    return [float(np.sum(label == value) * voxel) for value in (RIGHT, WALL, LEFT)]


def test_the_seed_determines_the_arrays() -> None:
    (patient, first), (_, again), (stranger, other) = draw("NOR", 0), draw("NOR", 0), draw("NOR", 1)
    for a, b in zip((*first.images, *first.labels), (*again.images, *again.labels), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    assert np.array_equal(first.affine, again.affine) and not np.allclose(first.affine, other.affine)
    assert patient != stranger


def test_both_frames_have_the_same_grid(drawn: list[tuple[Patient, CinePhantom]]) -> None:
    for _, phantom in drawn:
        shapes = {array.shape for array in (*phantom.images, *phantom.labels)}
        assert len(shapes) == 1
        ((columns, rows, slices),) = shapes
        assert min(columns, rows) >= 72 and max(columns, rows) <= 96 and 5 <= slices <= 7
        for image, label in zip(phantom.images, phantom.labels, strict=True):
            assert (image.dtype, label.dtype) == (np.float32, np.uint8)
            assert image.min() >= 0 and np.isfinite(image).all()
            assert set(np.unique(label)) == {0, RIGHT, WALL, LEFT}
        assert not np.array_equal(*phantom.images) and not np.array_equal(*phantom.labels)


def test_labels_have_the_drawn_volumes(drawn: list[tuple[Patient, CinePhantom]]) -> None:
    for patient, phantom in drawn:
        for label, volumes in zip(phantom.labels, patient.volumes, strict=True):
            assert millilitres(label, phantom.affine) == pytest.approx(volumes, rel=0.02, abs=0.5)


def test_groups_differ_in_ventricular_function(drawn: list[tuple[Patient, CinePhantom]]) -> None:
    for patient, phantom in drawn:
        group = GROUPS[patient.group]
        diastole, systole = (millilitres(label, phantom.affine) for label in phantom.labels)
        fractions = [100 * (1 - b / a) for a, b in zip(diastole, systole, strict=True)]
        assert group.lv_ef[0] - 1 < fractions[2] < group.lv_ef[1] + 1
        assert group.rv_ef[0] - 1 < fractions[0] < group.rv_ef[1] + 1
        assert abs(fractions[1]) < 2  # muscle is incompressible
        assert 80 < diastole[2] < 250
    assert GROUPS["DCM"].lv_ef[1] < 40 < GROUPS["NOR"].lv_ef[0] and GROUPS["MINF"].lv_ef[1] < 40
    assert GROUPS["RV"].rv_ef[1] < 40 < GROUPS["NOR"].rv_ef[0]
    assert GROUPS["HCM"].wall[0] > max(group.wall[1] for name, group in GROUPS.items() if name != "HCM")


def test_myocardium_surrounds_the_left_ventricle_only(
    drawn: list[tuple[Patient, CinePhantom]],
) -> None:
    for _, phantom in drawn:
        for label in phantom.labels:
            around = binary_dilation(label == LEFT, CROSS) & (label != LEFT)
            assert around.any() and set(np.unique(label[around])) == {WALL}
            assert components(label == LEFT, np.ones((3, 3, 3)))[1] == 1
            # The septum: the right ventricle touches the muscle in each of its slices.
            there = (label == RIGHT).any((0, 1))
            touches = (binary_dilation(label == RIGHT, CROSS) & (label == WALL)).any((0, 1))
            assert np.array_equal(there, touches)
            pieces, _ = components(label == RIGHT, np.ones((3, 3, 3)))
            assert np.bincount(pieces[pieces > 0]).max() > 0.95 * np.sum(label == RIGHT)


def test_the_stack_runs_from_base_to_apex_and_shortens(drawn: list[tuple[Patient, CinePhantom]]) -> None:
    numbers = []
    for _, phantom in drawn:
        filled = []
        for label in phantom.labels:
            areas = (label == LEFT).sum((0, 1))
            filled.append(np.flatnonzero(areas))
            assert np.all(np.diff(filled[-1]) == 1)  # no slice is skipped
            assert areas[filled[-1][0]] > 2 * areas[filled[-1][-1]]
            assert len(filled[-1]) >= np.count_nonzero((label == RIGHT).any((0, 1)))
        assert set(filled[1]) <= set(filled[0])
        numbers.append([len(slices) for slices in filled])
    assert np.sum(numbers, 0)[1] < np.sum(numbers, 0)[0]


def test_blood_is_brighter_than_muscle_and_the_lungs_are_darkest(drawn: list[tuple[Patient, CinePhantom]]) -> None:
    for _, phantom in drawn:
        for image, label in zip(phantom.images, phantom.labels, strict=True):
            right, wall, left = (np.median(image[label == value]) for value in (RIGHT, WALL, LEFT))
            assert min(right, left) > 1.3 * wall > 1.3 * np.quantile(image, 0.2)
            inside = [image > level for level in np.quantile(image, np.linspace(0.5, 0.999, 50))]
            best = max(2 * np.sum(mask & (label == LEFT)) / np.sum(mask + 0 + (label == LEFT)) for mask in inside)
            assert best < 0.6  # no threshold finds the left ventricle


def test_position_and_tilt_are_real_and_the_body_is_turned() -> None:
    affines, angles = [], []
    for seed in range(12):
        _, phantom = draw("NOR", seed)
        affines.append(phantom.affine)
        places = [np.argwhere(phantom.labels[0] == value).mean(0)[:2] for value in (RIGHT, LEFT)]
        angles.append(np.rad2deg(np.arctan2(*(places[1] - places[0])[::-1])))
    tilts = [np.rad2deg(obliquity(affine).max()) for affine in affines]
    assert min(tilts) > 1 and max(tilts) < 12.2
    assert all(np.abs(affine[:3, 3]).min() > 0 for affine in affines)
    assert {nib.aff2axcodes(affine) for affine in affines} == {("R", "A", "I")}
    sizes = np.array([voxel_sizes(affine) for affine in affines])
    assert np.all(sizes[:, 0] == pytest.approx(sizes[:, 1])) and np.all(sizes[:, 2] > 2 * sizes[:, 0])
    assert np.all((sizes[:, 0] >= 2.8) & (sizes[:, 0] <= 3.2)) and len(np.unique(sizes)) > 20
    quarter = np.abs(angles) > 45  # right to left is along the first axis, except in a quarter of the patients
    assert 0 < quarter.sum() < 7


def test_a_full_stack_has_the_resolution_of_a_scan() -> None:
    patient, phantom = draw("HCM", 3, size="full")
    columns, rows, slices = phantom.labels[0].shape
    assert min(columns, rows) >= 200 and max(columns, rows) <= 256 and 7 <= slices <= 12
    in_plane, _, pitch = voxel_sizes(phantom.affine)
    assert 1.2 <= in_plane <= 1.8 and 5 <= pitch <= 10
    for label, volumes in zip(phantom.labels, patient.volumes, strict=True):
        assert millilitres(label, phantom.affine) == pytest.approx(volumes, rel=0.005)


@pytest.mark.parametrize(("group", "size"), [("NRO", "small"), ("NOR", "tiny")])
def test_invalid_arguments(group: str, size: str) -> None:
    with pytest.raises(InputError, match=f"{'size' if group == 'NOR' else 'group'} .*: choose one of"):
        draw(group, size=size)


def test_sheared_ball() -> None:
    """With a slide of 0.5 along the first axis, the top at (0, 0, 4) moves to (2, 0, 4)."""
    ball = Ellipsoid(np.zeros(3), (4, 4, 4))
    leaning = Sheared(ball, np.array([0.0, 0, 1]), np.array([0.5, 0, 0]))
    points = np.array([[2, 0, 4], [0, 0, 4], [4, 0, 0], [-2, 0, -4], [0, 0, 0]], np.float32).T.reshape(3, 5, 1, 1)
    # (0, 0, 4) was at (-2, 0, 4) of the ball: sqrt(20) - 4 outside.
    assert leaning.distance(points).ravel() == pytest.approx([0, np.sqrt(20) - 4, 0, 0, -4], abs=1e-5)
    assert np.array(leaning.box()) == pytest.approx(np.array([[-6, -4, -4], [6, 4, 4]]))


def test_blur_within_slices_leaves_the_others_dark_and_noise_is_rician() -> None:
    image = np.zeros((9, 9, 3), np.float32)
    image[4, 4, 1] = 1
    seen = scan(np.random.default_rng(0), image, blur=(1, 1, 0), bias=0, texture=0, noise=0)
    assert not seen[..., [0, 2]].any() and 0 < seen[4, 5, 1] < seen[4, 4, 1] < 0.2
    # Without signal the magnitude is Rayleigh distributed: its mean is the noise times sqrt(pi / 2).
    dark = rician(np.random.default_rng(0), np.zeros((60, 60, 60), np.float32), 0.1)
    assert dark.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.01)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("cine") / "set", kind="cine", cases=2, seed=5, size="small")


def info(folder: Path) -> dict[str, str]:
    lines = (folder / "Info.cfg").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ") for line in lines)


def test_layout_of_acdc(written: Path) -> None:
    expected = ["phantom.json"]
    for number, group in ((1, "NOR"), (2, "DCM")):
        patient = f"phantom{number:03d}"
        about = info(written / patient)
        assert list(about) == ["ED", "ES", "Group", "Height", "NbFrame", "Weight"]
        assert (about["ED"], about["Group"]) == ("1", group)
        assert 9 <= int(about["ES"]) <= 14 < int(about["NbFrame"])
        assert 150 < float(about["Height"]) < 200 and 40 < float(about["Weight"]) < 120
        names = [f"{patient}_frame{frame}" for frame in ("01", f"{int(about['ES']):02d}")]
        expected += [f"{patient}/Info.cfg", *(f"{patient}/{name}{end}.nii.gz" for name in names for end in ("", "_gt"))]
    assert sorted(path.relative_to(written).as_posix() for path in written.rglob("*.*")) == sorted(expected)


def test_cases_have_phase_and_group(written: Path) -> None:
    cases = find_cases(written, labelled=True)
    assert [(case["patient"], case["phase"], case["group"]) for case in cases] == [
        ("phantom001", "ED", "NOR"),
        ("phantom001", "ES", "NOR"),
        ("phantom002", "ED", "DCM"),
        ("phantom002", "ES", "DCM"),
    ]
    for case in cases:
        image, label = nib.load(case["image"]), nib.load(case["label"])
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        assert image.shape == label.shape and np.array_equal(image.affine, label.affine)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert np.allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-3)
    first, second = (nib.load(case["image"]) for case in cases[:2])
    assert first.shape == second.shape and np.array_equal(first.affine, second.affine)


def test_a_patient_does_not_depend_on_the_number_of_cases(written: Path, tmp_path: Path) -> None:
    fewer = write_phantoms(tmp_path, kind="cine", cases=1, seed=5, size="small")
    files = sorted((fewer / "phantom001").iterdir())
    assert len(files) == 5
    for path in files:
        assert path.read_bytes() == (written / "phantom001" / path.name).read_bytes()
    lost = files[2]
    content, times = lost.read_bytes(), {path: path.stat().st_mtime_ns for path in files if path != lost}
    lost.unlink()
    write_phantoms(fewer, kind="cine", cases=1, seed=5, size="small")
    assert lost.read_bytes() == content
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_other_phantoms_are_refused(written: Path) -> None:
    with pytest.raises(InputError, match="holds other phantoms"):
        write_phantoms(written, kind="atrium", cases=2, seed=5, size="small")
    with pytest.raises(InputError, match="there are: atrium, cine"):
        write_phantoms(written, kind="cime")
