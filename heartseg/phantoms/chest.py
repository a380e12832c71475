"""The surroundings of the heart in bright-blood MRI: chest wall, lungs, spine, airways and upper abdomen.

Body coordinates are in mm, RAS+, with the origin in the midline at the level of the left atrium. Blood has intensity 1.
"""

from __future__ import annotations

import numpy as np

from heartseg.phantoms.shapes import Array, Canvas, Ellipsoid, Tube, rotation


def paint_chest(canvas: Canvas, rng: np.random.Generator, fat_range: tuple[float, float] = (0.08, 0.35)) -> None:
    """Paint everything except the heart and the great vessels. ``fat_range`` is the range of fat's intensity."""
    vary = rng.uniform
    fat, muscle, marrow = vary(*fat_range), vary(0.14, 0.28), vary(0.10, 0.22)
    lung, liver, soft = vary(0.02, 0.08), vary(0.32, 0.58), vary(0.14, 0.26)
    rim, rib_phase, disc_phase = vary(5, 16), vary(0, 24), vary(0, 25)

    def wall(points: Array) -> Array:
        # Ribs slope down towards the front, 24 mm apart: darker bands within the muscle of the chest wall.
        band = np.sin((points[2] + 0.45 * points[1] + rib_phase) * np.float32(2 * np.pi / 24))
        return np.asarray(np.float32(muscle) * (1 - 0.35 * (band > 0.2)))

    def spine(points: Array) -> Array:
        disc = np.cos((points[2] + disc_phase) * np.float32(2 * np.pi / 25)) > 0.86
        return np.asarray(np.where(disc, np.float32(0.45 * marrow), np.float32(marrow)))

    outline = Ellipsoid(np.array([0, -12, -60]), (vary(162, 180), vary(112, 122), 260), power=2.6)
    canvas.paint(outline, fat)
    canvas.paint(outline, muscle, grow=-rim)
    cavity = Ellipsoid(np.array([0, -9, -30]), (136, 92, 150), power=2.6)
    canvas.paint(cavity, wall, grow=11)
    canvas.paint(cavity, lung)
    for side in (1, -1):
        _lung_vessels(canvas, rng, side)
    canvas.paint(Ellipsoid(np.array([0, 12, 60]), (36, 66, 95), power=2.5), soft)
    canvas.paint(Ellipsoid(np.array([-6, -34, -10]), (36, 26, 110), power=2.5), soft)
    canvas.paint(Tube([[0, -88, -260], [0, -88, 200]], [44, 38]), muscle)
    for side in (1, -1):
        canvas.paint(Tube([[side * 26, -108, -260], [side * 20, -106, 200]], [19, 15]), 0.8 * muscle)
    canvas.paint(Tube([[0, -53, -260], [0, -53, 200]], [21, 17]), spine)
    canvas.paint(Tube([[0, -80, -260], [0, -78, 200]], [9, 8.5]), vary(0.7, 1.25))
    canvas.paint(Tube([[0, -80, -260], [0, -78, 200]], 4.2), 0.35)
    canvas.paint(Ellipsoid(np.array([0, 87, 12]), (17, 6, 70), power=3), 1.3 * marrow)
    _abdomen(canvas, rng, cavity, liver, soft)
    canvas.paint(Tube([[-12, -28, -90], [-11, -29, 20], [0, -32, 140]], 5.5), 0.3)
    canvas.paint(Tube([[0, -14, 170], [2, -20, 50]], [8.5, 8]), 0.02)
    canvas.paint(Tube([[2, -20, 50], [48, -26, 22]], [7, 5]), 0.02)
    canvas.paint(Tube([[2, -20, 50], [-46, -30, 26]], [6, 5]), 0.02)


def _lung_vessels(canvas: Canvas, rng: np.random.Generator, side: int) -> None:
    """Paint bright vessels that fan out from the hilum on one side (1 right, -1 left)."""
    hilum = np.array([side * 46.0, -14, 18])
    for _ in range(22):
        way = rng.normal(size=3) * [0.6, 1, 1] + [side * 0.8, -0.2, 0]
        first = hilum + 30 * way / np.linalg.norm(way) + rng.normal(0, 5, 3)
        path = np.array([hilum, first, first])
        width, bright = rng.uniform(2.0, 3.8), rng.uniform(0.5, 0.95)
        for turn in rng.normal(0, 0.5, (2, 3)):
            path[2] = first + 38 * (way + turn) / np.linalg.norm(way + turn)
            canvas.paint(Tube(path, [width, 0.75 * width, 0.8]), bright)


def _abdomen(canvas: Canvas, rng: np.random.Generator, cavity: Ellipsoid, liver: float, soft: float) -> None:
    """Paint the domes of the diaphragm and the organs below: liver on the right, stomach and spleen on the left."""
    dome = rng.uniform(-6, 6)
    below = (np.array([0, 0, -96.0]), np.array([0, 0, 1.0]))
    canvas.paint(Ellipsoid(cavity.centre, cavity.semi, power=cavity.power, cut=below), soft)
    left = Ellipsoid(np.array([-66, -8, -132 + dome]), (72, 84, 80), power=2.3)
    canvas.paint(left, 0.25, grow=2)
    canvas.paint(left, 0.7 * soft)
    canvas.paint(Ellipsoid(np.array([-62, 18, -112 + dome]), (34, 38, 32)), rng.uniform(0.05, 0.3))
    canvas.paint(Ellipsoid(np.array([-98, -52, -112 + dome]), (26, 36, 40)), rng.uniform(0.4, 0.65))
    right = Ellipsoid(np.array([66, -6, -130 + dome]), (76, 86, 86), power=2.3)
    canvas.paint(right, 0.25, grow=2.5)
    canvas.paint(right, liver)
    canvas.paint(Ellipsoid(np.array([0, 30, -104]), (60, 48, 46)), liver)
    for _ in range(7):
        start = np.array([40, 0, -120]) + rng.normal(0, 12, 3)
        canvas.paint(Tube([start, start + rng.normal(0, 28, 3)], [3, 1.2]), 1.25 * liver)
    for side in (1, -1):
        canvas.paint(Ellipsoid(np.array([side * 52, -66, -168.0]), (26, 24, 50)), rng.uniform(0.5, 0.9))


def paint_bowel(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint fat and loops of bowel under the left dome of the diaphragm, with the intensities of the heart."""
    for _ in range(14):
        place = np.array([-50, 5, -125]) + rng.uniform(-1, 1, 3) * [55, 55, 40]
        loop = Ellipsoid(place, rng.uniform(8, 20, 3), rotation(rng.uniform(0, 180, 3)))
        canvas.paint(loop, rng.uniform(0.5, 1.3), grow=rng.uniform(2, 6))
        canvas.paint(loop, rng.uniform(0.05, 0.7))
