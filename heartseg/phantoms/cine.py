"""Short-axis cine MRI of both ventricles, at end-diastole and at end-systole, as in ACDC.

The five groups of patients are those of ACDC (Bernard et al., 2018, https://doi.org/10.1109/TMI.2018.2837502): normal
(NOR), dilated (DCM) and hypertrophic cardiomyopathy (HCM), infarction (MINF), abnormal right ventricle (RV).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from heartseg.errors import InputError
from heartseg.phantoms.chest import paint_bowel, paint_chest
from heartseg.phantoms.shapes import Array, Blend, Canvas, Ellipsoid, Shape, Sheared, Tube, rician, rotation, scan

__all__ = ["GROUPS", "SIZES", "CinePhantom", "Group", "Patient", "cine_phantom", "draw_patient"]

Range = tuple[float, float]
Volumes = tuple[float, float, float]  # of labels 1, 2 and 3, mL
SUB = 5  # a slice is the mean of this many thinner ones, so oblique surfaces look blurred, as in a scan


class Group(NamedTuple):
    """Lowest and highest values of the parameters of a group of patients."""

    lv: Range  # end-diastolic volume of the left cavity over body surface, mL/m2
    lv_ef: Range  # ejection fraction, percent
    rv: Range
    rv_ef: Range
    wall: Range  # myocardium over end-diastolic left cavity, by volume
    lean: Range  # distance of the cavity from the wall's centre, in wall thicknesses: end-diastole, end-systole


GROUPS = {
    "NOR": Group((60, 85), (55, 68), (62, 90), (48, 62), (0.70, 0.95), (0.05, 0.10)),
    "DCM": Group((102, 125), (14, 32), (60, 95), (25, 45), (0.55, 0.75), (0.05, 0.10)),
    "HCM": Group((60, 78), (60, 76), (55, 75), (52, 68), (1.15, 1.60), (0.30, 0.20)),
    "MINF": Group((72, 98), (22, 38), (55, 80), (36, 52), (0.62, 0.85), (0.10, 0.35)),
    "RV": Group((60, 80), (52, 66), (112, 145), (20, 38), (0.75, 1.00), (0.05, 0.10)),
}

# Number and size (mm) of voxels in plane, number of slices, and largest distance between slices (mm).
SIZES: dict[str, dict[str, Any]] = {
    "full": {"matrix": (200, 256), "plane": (1.2, 1.8), "slices": (7, 12), "pitch": 10.0},
    "small": {"matrix": (72, 96), "plane": (2.8, 3.2), "slices": (5, 7), "pitch": 20.0},
}


class Patient(NamedTuple):
    """A patient to draw: height in cm, weight in kg, number of frames and index of end-systole (the first is ED)."""

    group: str
    height: float
    weight: float
    frames: int
    end_systole: int
    volumes: tuple[Volumes, Volumes]  # ED and ES


class CinePhantom(NamedTuple):
    """End-diastole and end-systole on one grid: images (float32, >= 0), labels (uint8), RAS+ affine (4, 4) in mm."""

    images: tuple[Array, Array]
    labels: tuple[Array, Array]
    affine: Array


def draw_patient(rng: np.random.Generator, group: str) -> Patient:
    """Draw a patient of a group, with volumes in its range; the volume of the myocardium is constant over the beat."""
    if group not in GROUPS:
        raise InputError(f"group {group!r}: choose one of {', '.join(GROUPS)}")
    kind = GROUPS[group]
    height = rng.uniform(155, 190)
    weight = rng.uniform(20, 28) * (height / 100) ** 2
    surface = np.sqrt(height * weight / 3600)  # m2, Mosteller 1987
    left = float(np.clip(surface * rng.uniform(*kind.lv), 85, 240))
    right = float(surface * rng.uniform(*kind.rv))
    wall = left * rng.uniform(*kind.wall)
    kept = 1 - rng.uniform(*kind.lv_ef) / 100
    kept_right = 1 - rng.uniform(*kind.rv_ef) / 100
    return Patient(
        group,
        height=round(height, 1),
        weight=round(weight, 1),
        frames=int(rng.integers(24, 31)),
        end_systole=int(rng.integers(9, 15)),
        volumes=((right, wall, left), (right * kept_right, wall, left * kept)),
    )


def cine_phantom(rng: np.random.Generator, patient: Patient, *, size: str = "full") -> CinePhantom:
    """Draw one patient's stack from ``rng`` at end-diastole and at end-systole.

    The ventricles are sized so that their labelled voxels have ``patient.volumes``. ``size`` names the ranges in
    `SIZES` of matrix, spacing and number of slices, which run from the base to the apex. Labels: 1 cavity of the right
    ventricle, 2 myocardium of the left ventricle, 3 its cavity including the papillary muscles.

    Lengths and positions are true, and the world's axes are the scanner's: the slices are up to 12 degrees off them. A
    patient's short axis is far more oblique; here the body is rotated instead, by up to 25 degrees either way and by a
    further quarter turn in one of four draws, so that the header does not reveal where the right ventricle is.

    Raises InputError for an unknown size.
    """
    if size not in SIZES:
        raise InputError(f"size {size!r}: choose one of {', '.join(SIZES)}")
    # Separate streams, so that the number of voxels does not affect later draws.
    body, grid, noise = (np.random.default_rng(key) for key in rng.integers(2**63, size=(3, 2)))
    pose = _pose(body, patient)
    shape, inner, affine = _stack(grid, SIZES[size], pose)
    canvas = Canvas(body, (*shape[:2], SUB * shape[2]), inner, np.zeros(3), np.ones(3), warp=3.0)
    canvas.soft = 0.5 * float(np.linalg.norm(inner[:3, 0]))  # edges are sharp within a slice
    # The waves stay within the slices, as annotators include or exclude whole slices at the base.
    along = np.float32(pose.axes[:, 0])
    depth = along @ inner[:3, 3] + np.linalg.norm(inner[:3, 2]) * np.arange(SUB * shape[2])
    canvas.points += along.reshape(3, 1, 1, 1) * (np.float32(depth) - np.tensordot(along, canvas.points, 1))
    paint_chest(canvas, body, fat_range=(0.8, 1.4))
    paint_bowel(canvas, body)
    chest, marked = canvas.image, slice(SUB // 2, None, SUB)
    points = canvas.points[..., marked].reshape(3, -1)
    near = points[:, np.linalg.norm(points - pose.apex[:, None], axis=0) < 170].reshape(3, -1, 1, 1)
    voxel = float(abs(np.linalg.det(affine[:3, :3]))) / 1000
    shaping, painting, scanning = body.integers(2**63, size=(3, 2))
    blur, bias, texture = noise.uniform(0.35, 0.7), noise.uniform(0.1, 0.25), noise.uniform(0.03, 0.07)
    grain, gain = noise.uniform(0.01, 0.04), np.float32(np.exp(noise.uniform(np.log(300), np.log(1500))))
    images, labels = [], []
    for phase in (0, 1):
        # Both frames draw from fresh streams with the same seeds: the same heart in the same scanner.
        canvas.image, canvas.label = chest.copy(), np.zeros_like(canvas.label)
        beat = _beat(np.random.default_rng(shaping), patient, phase, pose, near, voxel)
        _paint_heart(canvas, np.random.default_rng(painting), beat)
        image = canvas.image.reshape(*shape, SUB).mean(-1)
        image = scan(np.random.default_rng(scanning), image, (blur, blur, 0), bias, texture, noise=0)
        images.append(gain * rician(noise, image, grain))
        labels.append(np.ascontiguousarray(canvas.label[..., marked]))
    return CinePhantom((images[0], images[1]), (labels[0], labels[1]), affine)


class _Pose(NamedTuple):
    """The heart in the body. Columns of ``axes``: base to apex, towards the right ventricle, down the septum; mm."""

    axes: Array
    apex: Array
    length: float  # of the left cavity at end-diastole


class _Beat(NamedTuple):
    """The ventricles in one frame, and the plane of the mitral valve."""

    axes: Array
    base: Array
    cavity: Ellipsoid
    wall: Ellipsoid
    right: Sheared


def _pose(rng: np.random.Generator, patient: Patient) -> _Pose:
    turn = rotation(rng.normal(0, 5, 3))
    along, right = turn @ np.array([-0.60, 0.63, -0.49]), turn @ np.array([0.75, 0.65, 0.10])
    along /= np.linalg.norm(along)
    right -= (right @ along) * along
    right /= np.linalg.norm(right)
    length = min(82 * np.cbrt(patient.volumes[0][2] / 130) * rng.uniform(0.92, 1.08), 98)
    apex = np.array([-46, 36, -30]) + rng.normal(0, 4, 3) + length / 2 * along
    return _Pose(np.stack([along, right, np.cross(along, right)], 1), apex, float(length))


def _stack(rng: np.random.Generator, limits: dict[str, Any], pose: _Pose) -> tuple[tuple[int, int, int], Array, Array]:
    """Return the stack's shape, the affine (mm) of its sub-slices in the body, and of its slices in the scanner."""
    columns, rows = (int(n) for n in rng.integers(limits["matrix"][0], limits["matrix"][1] + 1, 2))
    plane = rng.uniform(*limits["plane"])
    first = rng.uniform(-1, 12)  # of the first slice from the base
    reach = pose.length + rng.uniform(0, 9) - first
    fewest, most = limits["slices"]
    slices = max(int(rng.integers(fewest, most + 1)), int(np.ceil(reach / limits["pitch"])) + 1)
    pitch = reach / (slices - 1)
    angle = np.deg2rad(rng.uniform(-25, 25) + 90 * rng.choice([0, 0, 0, 0, 0, 0, 1, -1]))
    along, across, down = pose.axes.T * np.array([[1], [-1], [1]])  # the right ventricle is on the left of the picture
    inner = np.eye(4)
    inner[:3, 0] = plane * (np.cos(angle) * across + np.sin(angle) * down)
    inner[:3, 1] = plane * (np.cos(angle) * down - np.sin(angle) * across)
    inner[:3, 2] = pitch / SUB * along
    first_slice = pose.apex + (first - pose.length) * along + rng.uniform(-20, 20, 2) @ np.stack([across, down])
    inner[:3, 3] = first_slice - inner[:3, :3] @ [(columns - 1) / 2, (rows - 1) / 2, SUB // 2]
    affine = np.eye(4)
    affine[:3, :3] = rotation(rng.uniform(-7, 7, 3)) * np.array([plane, plane, -pitch])
    middle = np.array([columns - 1, rows - 1, slices - 1]) / 2
    affine[:3, 3] = rng.uniform(-40, 40, 3) - affine[:3, :3] @ middle
    return (columns, rows, slices), inner, affine


def _beat(rng: np.random.Generator, patient: Patient, phase: int, pose: _Pose, points: Array, voxel: float) -> _Beat:
    """Return the ventricles at end-diastole (phase 0) or end-systole (1), fitted to the patient's volumes.

    ``points`` (3, n, 1, 1) are the voxel centres near the heart, ``voxel`` is the volume of one voxel in mL.
    """
    group, vary = GROUPS[patient.group], rng.uniform
    right_ml, wall_ml, cavity_ml = patient.volumes[phase]
    ejected = 1 - cavity_ml / patient.volumes[0][2]
    along, right, down = pose.axes.T
    # In a healthy beat the base descends by a sixth of the length and the apex hardly moves.
    base = pose.apex - pose.length * (1 - 0.26 * vary(0.8, 1.2) * ejected) * along
    tip = pose.apex - 6 * ejected * along
    half = (tip - base) @ along / 1.3
    centre = tip - half * along
    flat = vary(0.80, 0.92) if patient.group == "RV" else vary(0.94, 1.04)  # flattened by the right ventricle
    towards = np.pi if patient.group == "HCM" else vary(0, 2 * np.pi)  # where the wall is thickest: the septum
    lean = group.lean[phase] * (np.cos(towards) * right + np.sin(towards) * down)
    turn = np.deg2rad(vary(-12, 12))
    outward, downward = np.cos(turn) * right + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * right
    # The right ventricle ends before the left one's apex and starts at or below its base.
    end = tip - pose.length * vary(0.06, 0.2) * along
    top = base + (vary(0, 7) + phase * vary(2, 8)) * along
    long = 0.7 * ((end - top) @ along)

    def fit(shape: Callable[[float], Shape], volume: float, free: Array | bool = True) -> float:
        def excess(width: float) -> float:
            return voxel * np.count_nonzero((shape(width).distance(points) < 0) & free) - volume

        return float(brentq(excess, 1, 120, xtol=1e-3))

    def cavity(radius: float) -> Ellipsoid:
        return Ellipsoid(centre, (half, radius * flat, radius / flat), pose.axes, cut=(base, -along))

    radius = fit(cavity, cavity_ml)

    def wall(thick: float) -> Ellipsoid:
        semi = (half + 0.6 * thick, radius * flat + thick, radius / flat + thick)
        return Ellipsoid(centre - thick * lean, semi, pose.axes, cut=(base, -along))

    thick = fit(wall, wall_ml + cavity_ml)
    outer = radius + thick
    depth = (end - centre) @ along / (half + 0.6 * thick)
    tip_off = 1.1 * outer * np.sqrt(1 - depth**2)  # on the left one's surface, so that they touch in every slice

    def crescent(width: float) -> Sheared:
        off = 0.15 * outer + 0.6 * width
        semi, own = (long, width, 0.4 * width + 0.8 * outer), np.stack([along, outward, downward], 1)
        body = Ellipsoid(end - long * along + off * outward, semi, own, 2.2, (top, -along))
        return Sheared(body, along, (tip_off - off) / long * outward)

    width = fit(crescent, right_ml, free=wall(thick).distance(points) >= 0)
    return _Beat(pose.axes, base, cavity(radius), wall(thick), crescent(width))


def _paint_heart(canvas: Canvas, rng: np.random.Generator, beat: _Beat) -> None:
    """Paint atria and great vessels, fat and pericardium, then the ventricles with their labels."""
    vary = rng.uniform
    along, right, down = beat.axes.T
    muscle, fat, soft = vary(0.30, 0.52), vary(0.6, 1.2), vary(0.12, 0.25)
    phase = rng.uniform(0, 2 * np.pi, 3)

    def at(depth: float, outward: float, below: float) -> Array:
        return beat.base + depth * along + outward * right + below * down + rng.normal(0, 2, 3)

    def pericardium(points: Array) -> Array:
        # Fat forms pads of about 30 mm and does not surround the heart.
        pad = sum(np.sin(points[k] * np.float32(2 * np.pi / 60) + np.float32(phase[k])) for k in range(3))
        return np.asarray(np.where(pad > 0.2, np.float32(fat), np.float32(soft)))

    atria = [Ellipsoid(at(-27, -4, 4), (27, 30, 33), beat.axes), Ellipsoid(at(-26, 50, 16), (27, 26, 30), beat.axes)]
    vessels = [
        Tube([at(-6, 22, -12), at(-40, 24, -22), at(-52, 14, -66)], 14),
        Tube([at(-4, 34, -34), at(-44, 10, -46)], [15, 12]),
        Tube([[-23, -34, 90], [-26, -40, 36], [-26, -40, 0], [-20, -39, -60], [-6, -36, -170]], vary(9, 13)),
        Tube([[25, 6, -34], [22, -8, -75], [16, -20, -170]], vary(9, 12)),
    ]
    canvas.paint(Blend([beat.wall, beat.right, *atria], 6), pericardium, grow=vary(4, 7))
    others: list[Shape] = [*atria, *vessels]
    for chamber in others:
        canvas.paint(chamber, 0.6 * muscle, grow=2)
    for chamber in others:
        canvas.paint(chamber, vary(0.85, 1.1))
    canvas.paint(beat.right, muscle, grow=3)
    canvas.paint(beat.right, vary(0.82, 0.98), label=1)
    _trabeculae(canvas, rng, beat.right.shape, muscle, 8, beat.right.slide)
    canvas.paint(beat.wall, muscle, label=2)
    canvas.paint(beat.cavity, vary(0.95, 1.05), label=3)
    _trabeculae(canvas, rng, beat.cavity, muscle, 6, np.zeros(3))
    half, *semi = np.asarray(beat.cavity.semi)
    for angle in np.deg2rad([vary(100, 140), vary(215, 255)]):  # papillary muscles, away from the septum
        spoke = vary(0.6, 0.8) * (semi[0] * np.cos(angle) * right + semi[1] * np.sin(angle) * down)
        start, stop = (beat.cavity.centre + share * half * along + spoke for share in (0.0, 0.6))
        canvas.paint(Tube([start, stop], [vary(2.5, 4), vary(4, 5.5)]), muscle, label=None)


def _trabeculae(
    canvas: Canvas, rng: np.random.Generator, chamber: Ellipsoid, muscle: float, count: int, slide: Array
) -> None:
    """Paint strands of muscle along a cavity's surface, labelled as blood; ``slide`` as in `Sheared`."""
    semi, axes = np.asarray(chamber.semi), np.asarray(chamber.axes)
    for _ in range(count):
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.6)
        spoke = 0.9 * axes[:, 1:] @ (semi[1:] * [np.cos(angle), np.sin(angle)])
        ends = [chamber.centre + spoke + semi[0] * part * (axes[:, 0] + slide) for part in (depth, depth + 0.3)]
        canvas.paint(Tube(ends, rng.uniform(1.2, 2.4)), 1.3 * muscle, label=None)
