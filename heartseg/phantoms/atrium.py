"""Chests as in whole-heart bright-blood MRI, with the left atrium as the label.

Blood is about equally bright in all chambers and vessels, as in Task02 of the Medical Segmentation Decathlon (Antonelli
et al., 2022): only shape and position distinguish the left atrium from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heartseg.errors import InputError
from heartseg.phantoms.chest import paint_chest
from heartseg.phantoms.shapes import AXCODES, Array, Blend, Canvas, Ellipsoid, Tube, rotation, scan, store

# Lowest and highest field of view along R, A and S, voxel size in plane, and slice thickness, in mm.
SIZES: dict[str, dict[str, Any]] = {
    "full": {"fov": ((180, 300), (230, 280), (220, 310)), "plane": (1.2, 2.2), "slice": (1.4, 3.0)},
    "small": {"fov": ((155, 175), (155, 175), (155, 175)), "plane": (2.0, 2.4), "slice": (2.0, 2.6)},
}


def atrium_phantom(
    rng: np.random.Generator,
    *,
    size: str = "full",
    spacing: Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    axcodes: str | None = None,
) -> tuple[Array, Array, Array]:
    """Draw one chest from ``rng``.

    For a given state of ``rng`` the anatomy is the same on every grid, and ``axcodes`` only changes the storage.

    Args:
        rng: source of all randomness.
        size: name of the ranges in `SIZES` from which field of view and spacing are drawn.
        spacing: mm along the patient's R, A and S axes, for any storage order, instead of a drawn one.
        shape: voxels along the patient's R, A and S axes, likewise.
        axcodes: order and direction of the stored axes, such as "RAS" or "PIR"; None draws one of the 48.

    Returns the image (float32, arbitrary units, >= 0), the label (uint8, 1 left atrium, 30 to 110 mL) and the true
    RAS+ affine (4, 4) in mm, which is up to 10 degrees oblique in two of five draws.

    Raises InputError for an invalid size, spacing, shape or axcodes.
    """
    if size not in SIZES:
        raise InputError(f"size {size!r}: choose one of {', '.join(SIZES)}")
    # Separate streams, so that the number of voxels does not affect later draws.
    body, grid, noise = (np.random.default_rng(key) for key in rng.integers(2**63, size=(3, 2)))
    origin, scale = grid.uniform(-40, 40, 3), body.uniform(0.94, 1.06) * body.uniform(0.97, 1.03, 3)
    affine, shape = _grid(grid, size, spacing, shape, origin + scale * np.array([-18.0, 10, -6]))
    chosen = "".join(AXCODES[axis][grid.integers(2)] for axis in grid.permutation(3))
    canvas = Canvas(body, shape, affine, origin, scale, warp=3.0)
    paint_chest(canvas, body)
    _heart(canvas, body)
    image = scan(
        noise,
        canvas.image,
        blur=noise.uniform(0.35, 0.7),
        bias=noise.uniform(0.08, 0.2),
        texture=noise.uniform(0.05, 0.11),
        noise=noise.uniform(0.015, 0.05),
    )
    image *= np.float32(np.exp(noise.uniform(np.log(300), np.log(2000))))
    affine, (image, label) = store(chosen if axcodes is None else axcodes, affine, image, canvas.label)
    return image, label, affine


def _grid(
    rng: np.random.Generator,
    size: str,
    spacing: Sequence[float] | None,
    shape: Sequence[int] | None,
    centre: Array,
) -> tuple[Array, tuple[int, ...]]:
    """Return affine and shape of a RAS grid around ``centre``; the number of draws from ``rng`` is always the same."""
    ranges = SIZES[size]
    field = np.array([rng.uniform(*limits) for limits in ranges["fov"]])
    step = np.full(3, rng.uniform(*ranges["plane"]))
    step[rng.integers(3)] = rng.uniform(*ranges["slice"])
    tilt = rng.uniform(-1, 1, 3) * (10 / np.sqrt(3)) * (rng.random() < 0.4)
    centre = centre + rng.uniform(-8, 8, 3)
    if spacing is not None:
        step = np.asarray(spacing, float)
        if step.shape != (3,) or not np.all(np.isfinite(step)) or np.any(step <= 0):
            raise InputError(f"spacing {spacing}: give three positive lengths in mm, along R, A and S")
    count = np.round(field / step).astype(int) if shape is None else np.asarray(shape)
    if count.shape != (3,) or np.any(count < 1):
        raise InputError(f"shape {shape}: give three positive voxel counts, along R, A and S")
    affine = np.eye(4)
    affine[:3, :3] = rotation(tilt) * step
    affine[:3, 3] = centre - affine[:3, :3] @ ((count - 1) / 2)
    return affine, tuple(int(n) for n in count)


def _heart(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint chambers and great vessels, from the outside in; the left atrium is label 1."""
    vary = rng.uniform
    volume = vary(44, 90)
    grown = (volume / 66) ** (1 / 3)
    turn = rotation(rng.normal(0, 5, 3))
    heart = np.sqrt(grown) * vary(0.95, 1.05)

    def at(*place: float) -> Array:
        return turn @ (heart * (np.array(place, float) + rng.normal(0, 1.2, 3)))

    def blood() -> float:
        return vary(0.94, 1.06)

    wall, soft = vary(0.36, 0.62), vary(0.10, 0.24)
    # With a mean semi-axis of 23 mm, chamber, veins and appendage have 66 mL.
    semi = np.array([31.0, 19.0, 25.5]) * np.exp(rng.normal(0, 0.05, 3))
    semi *= grown * 23 / np.cbrt(semi.prod())
    centre = at(-8, 0, 0)
    axis = turn @ np.array([-0.60, 0.63, -0.49])
    axis /= np.linalg.norm(axis)
    valve = centre + axis / np.sqrt(np.square((turn.T @ axis) / semi).sum())
    frame = np.linalg.qr(np.stack([axis, turn[:, 0], turn[:, 1]], 1))[0]
    long, short, thick = heart * vary(40, 46), heart * vary(22, 26), vary(8, 12)
    mitral = (valve + 2 * axis, -axis)
    middle = valve + (long - 5) * axis
    ventricle = Ellipsoid(middle, (long, short, short), frame, 2.2, mitral)
    muscle = Ellipsoid(middle, (long + thick, short + thick, short + thick), frame, 2.2, mitral)
    right_ventricle = Blend(
        [
            Ellipsoid(at(-14, 46, -30), heart * np.array([44, 25, 30]), turn @ rotation((0, 0, 142)), 2.3),
            Tube([at(-4, 56, -16), at(-20, 50, 14), at(-27, 36, 32)], heart * np.array([20, 15, 12])),
        ],
        4,
    )
    right_atrium = Blend(
        [
            Ellipsoid(at(26, 24, -10), heart * np.array([24, 27, 33]), turn, 2.2),
            Tube([at(29, 16, 14), at(27, 14, 50), [28, 12, 150]], heart * np.array([11, 9.5, 9])),
            Tube([at(25, 6, -34), [22, -8, -75], [16, -20, -170]], heart * 11.5),
        ],
        3,
    )
    canvas.paint(Blend([muscle, right_ventricle, right_atrium], 7), soft, grow=4)
    canvas.paint(right_ventricle, wall, grow=3.5)
    canvas.paint(right_atrium, 0.8 * wall, grow=2)
    canvas.paint(right_ventricle, blood())
    canvas.paint(right_atrium, blood())
    canvas.paint(muscle, wall)
    canvas.paint(ventricle, blood())
    for side in (short, -short):
        start = middle + 0.45 * long * axis + 0.62 * side * frame[:, 1]
        canvas.paint(Tube([start, start - 0.55 * long * axis], heart * np.array([5.5, 3])), wall)
    _left_atrium(canvas, rng, at, Ellipsoid(centre, semi, turn, 2.2, (mitral[0], axis)), wall)
    # The open mitral valve: blood in the middle of the wall between atrium and ventricle.
    canvas.paint(Tube([valve - 3 * axis, valve + 9 * axis], heart * vary(5, 10)), 1.0, label=None)
    trunk = [at(-27, 36, 32), at(-26, 14, 44), at(-46, -12, 44)]
    branch = [at(-26, 14, 44), at(8, 4, 38), at(46, -8, 34)]
    arch = [at(-12, 33, 2), at(2, 32, 24), at(9, 29, 48), at(2, 14, 72), at(-12, -10, 80), at(-23, -34, 64)]
    aorta = [*arch, [-26, -40, 36], [-26, -40, 0], [-20, -39, -60], [-6, -36, -170]]
    width = vary(0.88, 1.12) * np.array([16, 15, 15, 13.5, 12.5, 12, 11.5, 11, 10.5, 9.5])
    lumen = blood()
    for path, radii in ((trunk, [12.5, 12, 8]), (branch, [10.5, 9, 7.5]), (aorta, width)):
        canvas.paint(Tube(path, radii), 0.25, grow=1.6)
        canvas.paint(Tube(path, radii), lumen)
    outflow = Tube([valve + heart * 12 * axis + 6 * turn[:, 2], arch[0]], heart * np.array([10, 12]))
    canvas.paint(outflow, lumen, label=None)
    tops = ([16, 14, 130], 6), ([-14, -2, 135], 4), ([-30, -22, 135], 5)
    for root, (top, radius) in zip(arch[3:], tops, strict=True):
        canvas.paint(Tube([root, top], [radius + 1, radius]), lumen)


def _left_atrium(canvas: Canvas, rng: np.random.Generator, at: Any, chamber: Ellipsoid, wall: float) -> None:
    """Paint the chamber, its appendage and four veins; each vein is labelled for its first 6 to 16 mm."""
    bright = rng.uniform(0.94, 1.04)
    parts: list[Any] = [chamber]
    semi, turn = np.asarray(chamber.semi), np.asarray(chamber.axes)
    # Where a vein leaves, in semi-axes of the chamber, and where it enters the lung, in mm.
    veins = (
        ((0.72, -0.30, 0.52), (56, -12, 30)),
        ((0.78, -0.48, -0.20), (58, -30, -14)),
        ((-0.72, -0.25, 0.55), (-62, -10, 34)),
        ((-0.78, -0.50, -0.12), (-64, -32, -10)),
    )
    for leaving, lung in veins:
        root = chamber.centre + turn @ (semi * (np.array(leaving) + rng.normal(0, 0.05, 3)))
        end = at(*lung)
        radius = rng.uniform(5.5, 8.0)
        way = (end - root) / np.linalg.norm(end - root)
        knee = root + way * rng.uniform(6, 16)
        beyond = end + 18 * (way + rng.normal(0, 0.4, 3))
        canvas.paint(Tube([root, end, beyond], [radius, 0.8 * radius, 3]), bright)
        parts.append(Tube([root, knee], [radius, 0.92 * radius]))
    tip = at(-44, 26, 14) + rng.normal(0, 3, 3)
    neck = chamber.centre + turn @ (semi * [-0.7, 0.45, 0.35])
    parts.append(Tube([neck, tip], [8, 6]))
    atrium = Blend(parts, 1.5)
    canvas.paint(chamber, 0.7 * wall, grow=2)
    canvas.paint(atrium, bright, label=1)
