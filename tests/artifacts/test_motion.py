"""Motion against the whole of complex k-space, put together line by line, with poses computed in other ways."""

import itertools

import numpy as np
import pytest
import torch
from images import SPACING, TURNED, blobs, k_space, reconstruct, scan, texture
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from heartseg.artifacts import RandMotion, RandMotiond, at_severity, motion
from heartseg.errors import InputError


def acquire(own, poses, times, axis, dims):
    """Return the reference: each line of k-space from the pose at its time; ``own`` is the image at the centre line."""
    n = own.shape[axis - dims]
    segment = [sum(line >= round(time * n) for time in times) for line in range(n)]
    others = [i for i in range(len(times) + 1) if i != segment[n // 2]]
    seen = {segment[n // 2]: own, **dict(zip(others, poses, strict=True))}
    spectra = {i: k_space(image, dims).movedim(axis - dims, 0) for i, image in seen.items()}
    lines = torch.stack([spectra[segment[line]][line] for line in range(n)])
    return reconstruct(lines.movedim(0, axis - dims), dims)


def keys(distance):
    """The cubic kernel with a = -1/2 (Keys, 1981)."""
    d = np.abs(distance)
    far = np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0)
    return np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, far)


def resample(image, matrix, shift, spacing):
    """Rotate the object by a matrix and shift it by mm, each voxel from 4^d neighbours; the border is replicated."""
    size = np.array(image.shape)
    places = np.moveaxis(np.indices(image.shape), 0, -1)
    mm = (places - (size - 1) / 2) * spacing - shift
    source = mm @ np.asarray(matrix) / spacing + (size - 1) / 2  # a row times R is R transposed times the column
    low = np.floor(source).astype(int)
    result = np.zeros(image.shape)
    for step in itertools.product(range(-1, 3), repeat=image.ndim):
        at = low + step
        inside = tuple(np.moveaxis(np.clip(at, 0, size - 1), -1, 0))
        result += keys(source - at).prod(axis=-1) * image.numpy()[inside]
    return torch.from_numpy(result)


def matrix(rotation):
    return Rotation.from_rotvec(rotation, degrees=True).as_matrix()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("n", [8, 7])
def test_rotation_about_one_axis(axis, n):
    """Full cubic interpolation then equals interpolation plane by plane; the shift may have any direction."""
    image = texture(n, 6, 5, seed=axis, dtype=torch.float64)
    for about in range(3):
        turns = [[0.0] * 3, [0.0] * 3]
        turns[0][about], turns[1][about] = 25.0, -40.0
        shifts = [[3.0, -2.0, 5.0], [0.0, 1.3, -0.7]]
        poses = [resample(image, matrix(t), s, SPACING) for t, s in zip(turns, shifts, strict=True)]
        expected = acquire(image, poses, [0.3, 0.8], axis, 3)
        found = motion(image, turns, shifts, [0.3, 0.8], axis, SPACING)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 8), (8, 11)])
def test_a_plane(shape):
    image = texture(*shape, dtype=torch.float64)
    cos, sin = np.cos(np.radians(33)), np.sin(np.radians(33))
    pose = resample(image, [[cos, -sin], [sin, cos]], [2.2, -3.1], (1.5, 2.5))
    for axis in (0, 1):
        expected = acquire(image, [pose], [0.4], axis, 2)
        for turns in ([33.0], [[33.0]], torch.tensor([33.0])):
            found = motion(image, turns, [[2.2, -3.1]], [0.4], axis, (1.5, 2.5), spatial_dims=2)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("turn", [(12.0, -15.0, 9.0), (0.0, 0.0, 20.0), (-11.0, 17.0, 0.0), (4.0, 5.0, -28.0)])
def test_rotation_about_any_axis(turn):
    """Blobs with known positions after the motion: order of planes, sense of rotation, mm of each axis.

    The spacing is the affine's. The blobs do not reach the border. Half of k-space comes from the other pose,
    up to the line next to its centre. The remaining difference is interpolation.
    """
    spacing, shift = (2.0, 1.5, 2.5), (3.0, -4.0, 2.5)
    shape = (36, 46, 28)
    image, pose = blobs(shape, spacing), blobs(shape, spacing, turn, shift)
    affine = TURNED.clone()
    affine[:3, :3] *= torch.tensor([1, 1, 2.5 / 4])
    expected = acquire(image, [pose], [0.5], 1, 3)
    found = motion(MetaTensor(image, affine=affine), [turn], [shift], [0.5], 1).as_tensor()
    change = (expected - image).square().mean().sqrt()
    assert (found - expected).square().mean().sqrt() < 0.01 * change
    torch.testing.assert_close(found, expected, rtol=0, atol=4e-3)  # of a brightness of 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quarter_turns_and_whole_voxels_by_hand(axis):
    """A positive rotation about z moves x to y; 3 mm are two voxels of 1.5 mm, to higher indices."""
    image = torch.zeros(9, 9, 9, dtype=torch.float64)
    image[6, 4, 5] = 1.0
    turned = torch.zeros_like(image)
    turned[4, 6, 5] = 1.0
    found = motion(image, [[0, 0, 90]], [[0, 0, 0]], [0.2], axis, 1.5)
    torch.testing.assert_close(found, acquire(image, [turned], [0.2], axis, 3), rtol=0, atol=1e-12)
    found = motion(image, [[0, 0, 90]], [[3, 0, -1.5]], [0.2], axis, 1.5)
    turned = turned.roll((2, -1), (0, 2))
    torch.testing.assert_close(found, acquire(image, [turned], [0.2], axis, 3), rtol=0, atol=1e-12)


def test_the_border_is_replicated():
    image = texture(6, 5, 4, dtype=torch.float64)
    pose = torch.cat([image[:1], image[:1], image[:-2]])
    found = motion(image, [[0, 0, 0]], [[2, 0, 0]], [0.2], 1)
    torch.testing.assert_close(found, acquire(image, [pose], [0.2], 1, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("times", [[0.7, 0.9], [0.1, 0.2], [0.2, 0.6], [0.55, 0.56], [0.05, 0.3, 0.45, 0.8]])
@pytest.mark.parametrize("n", [10, 13])
def test_the_centre_of_k_space_keeps_the_pose(times, n):
    """For any segment that holds it: the projection along the phase-encoding axis and the mean are kept."""
    image = texture(5, n, 6, dtype=torch.float64)
    shifts = [[float(i + 1), -2.0, 3.0 * i] for i in range(len(times))]
    turns = [[0.0, 0.0, 10.0 * i] for i in range(len(times))]
    poses = [resample(image, matrix(t), s, (1, 1, 1)) for t, s in zip(turns, shifts, strict=True)]
    found = motion(image, turns, shifts, times, axis=1)
    torch.testing.assert_close(found, acquire(image, poses, times, 1, 3), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sum(1), image.sum(1))
    assert found.mean() == pytest.approx(image.mean().item(), rel=1e-12)


def test_a_segment_without_motion():
    image = texture(8, 7, 6, dtype=torch.float64)
    pose = resample(image, np.eye(3), [1.5, 0, 0], (1, 1, 1))
    found = motion(image, [[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [1.5, 0, 0]], [0.25, 0.75], axis=0)
    torch.testing.assert_close(found, acquire(image, [image, pose], [0.25, 0.75], 0, 3), rtol=0, atol=1e-12)


def test_without_moves_nothing_changes():
    image = texture(8, 7, 6)
    assert torch.equal(motion(image, [], [], []), image)
    assert torch.equal(motion(image, [[0, 0, 0]], [[0, 0, 0]], [0.5]), image)


def test_spacing_from_the_affine():
    image = scan(1, 8, 7, 6)
    poses = ([[5, 8, -6]], [[3, 2, 1]], [0.4])
    by_hand = motion(image.as_tensor(), *poses, spacing=SPACING)
    torch.testing.assert_close(motion(image, *poses).as_tensor(), by_hand, rtol=0, atol=1e-5)
    assert not torch.allclose(motion(image.as_tensor(), *poses), by_hand, atol=1e-3)  # 1 mm
    assert torch.equal(motion(image, *poses, spacing=1.0).as_tensor(), motion(image.as_tensor(), *poses))


@pytest.mark.parametrize(
    ("poses", "words"),
    [
        (([[1, 2, 3]], [[1, 2, 3]], [0.2, 0.4]), "1 rotations, 1 translations, 2 times; give one each per move"),
        (([[1, 2, 3]] * 2, [[1, 2, 3]], [0.2]), "2 rotations, 1 translations, 1 times"),
        (([[1, 2, 3]] * 2, [[1, 2, 3]] * 2, [0.4, 0.2]), "do not ascend between 0 and 1"),
        (([[1, 2, 3]], [[1, 2, 3]], [0.0]), "do not ascend between 0 and 1"),
        (([[1, 2, 3]], [[1, 2, 3]], [1.0]), "do not ascend between 0 and 1"),
        (([[1, 2, 3]], [[1, 2, 3]], [float("nan")]), "times: not all are finite"),
        (([[1, 2]], [[1, 2, 3]], [0.4]), r"rotations have shape \(1, 2\), not \[moves, 3\]"),
        (([1, 2, 3, 4], [[1, 2, 3]], [0.4]), r"rotations have shape \(4,\), not"),
        (([[1, 2, 3]], [[1, 2]], [0.4]), r"translations have shape \(1, 2\), not \[moves, 3\]"),
        (([[float("nan"), 0, 0]], [[1, 2, 3]], [0.4]), "rotations"),
        (([[1, 2, 3]], [[float("inf"), 0, 0]], [0.4]), "translations"),
        (([[1, 2, 3]], [[1, 2, 3]], [0.4], 3), "axis: 3 is not one of 3 spatial axes"),
        (([[1, 2, 3]], [[1, 2, 3]], [0.4], 0, (1, 2)), "is not 3 positive numbers; give mm per axis"),
    ],
)
def test_invalid_poses(poses, words):
    with pytest.raises(InputError, match=words):
        motion(texture(1, 4, 5, 6), *poses)


@pytest.mark.parametrize("dims", [2, 3])
def test_sampled_parameters(dims):
    transform = RandMotion(prob=1, degrees=(5, 10), translation=(2, 4), moves=3).set_random_state(0)
    image, seen = texture(1, 6, 7, 8)[(slice(None),) * (dims + 1) + (0,) * (3 - dims)], []
    for _ in range(60):
        transform.randomize(image)
        seen.append(transform.parameters)
    turns, shifts = (torch.tensor([p[key] for p in seen]) for key in ("rotations", "translations"))
    assert turns.shape == (60, 3, 1 if dims == 2 else 3) and shifts.shape == (60, 3, dims)
    for sizes, low, high in ((turns.norm(dim=-1), 5, 10), (shifts.norm(dim=-1), 2, 4)):
        assert low - 1e-4 <= sizes.min() < low + 0.3 and high - 0.3 < sizes.max() <= high + 1e-4
    assert (turns > 0).any(dim=(0, 1)).all() and (turns < 0).any(dim=(0, 1)).all()
    times = torch.tensor([p["times"] for p in seen])
    expected = torch.tensor([0.25, 0.5, 0.75])
    assert ((times - expected).abs() <= 0.3 * 0.25 + 1e-6).all() and times.std(0).min() > 0.02
    assert {int(p["axis"]) for p in seen} == set(range(dims))
    assert all(p["spacing"] == [1.0] * dims for p in seen)


def test_in_plane_motion():
    transform = RandMotion(prob=1, in_plane=-1).set_random_state(0)
    for _ in range(30):
        transform.randomize(scan(1, 6, 7, 8))
        found = transform.parameters
        assert all(turn[:2] == [0, 0] and turn[2] != 0 for turn in found["rotations"])
        assert all(shift[2] == 0 != shift[0] for shift in found["translations"])
        assert found["axis"] in (0, 1)
        assert found["spacing"] == pytest.approx(SPACING)
    assert RandMotion(prob=1, in_plane=2).set_random_state(1)(texture(1, 6, 7)).shape == (1, 6, 7)


def test_given_axis():
    transform = RandMotion(prob=1, axis=2).set_random_state(0)
    image = texture(1, 8, 7, 6)
    torch.testing.assert_close(transform(image).sum(-1), image.sum(-1))


@pytest.mark.parametrize("moves", [0, -1, 1.5, True, "two", None, (1, 2)])
def test_invalid_moves(moves):
    with pytest.raises(InputError, match=r"RandMotion: moves .* is not a count; give a whole number of 1 or more"):
        RandMotion(moves=moves)


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandMotiond("image", prob=1, degrees=(8, 8), moves=1).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandMotion(prob=1, degrees=(8, 8), moves=1).set_random_state(4)(image))
    assert at_severity("motion").moves == 2


def test_a_stack_moves_within_its_slices():
    """As with ``in_plane``: slices do not mix, and the phase-encoding axis never runs through them."""
    for spacing, through in (([1.5, 1.5, 10], 2), ([8, 1, 1.2], 0)):
        image = MetaTensor(texture(1, 6, 7, 5), affine=torch.diag(torch.tensor([*spacing, 1.0])))
        transform = RandMotion(prob=1)
        for seed in range(10):
            transform.set_random_state(seed)(image)
            drawn = transform.parameters
            assert drawn["axis"] != through
            assert all(shift[through] == 0 and any(shift) for shift in drawn["translations"])
            assert all(turn[a] == 0 for turn in drawn["rotations"] for a in range(3) if a != through)
        whole = transform(image, randomize=False)
        for k in range(image.shape[1 + through]):
            alone = transform(image.narrow(1 + through, k, 1), randomize=False)
            torch.testing.assert_close(alone, whole.narrow(1 + through, k, 1), rtol=0, atol=1e-5)
