"""Implicit shapes painted on a voxel grid, and simulation of a scanner, for all kinds of phantoms.

All lengths are in mm, all directions RAS+ (first axis to the patient's right, then anterior, then superior).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from heartseg.errors import InputError

Array = NDArray[Any]
AXCODES = ("LR", "PA", "IS")


class Shape(Protocol):
    """A solid with a bounding box and the distance of points from its surface."""

    def box(self) -> tuple[Array, Array]:
        """Return the lowest and highest corner of a box around the solid, in mm."""

    def distance(self, points: Array) -> Array:
        """Return the approximate distance in mm of points (3, ...) from the surface: negative inside, exact in sign."""


@dataclass(frozen=True)
class Ellipsoid:
    """Superellipsoid ``sum |p_i / semi_i| ** power <= 1`` along the columns of ``axes``.

    Power 2 is an ellipsoid, a higher power is more box-like. ``cut`` is (point, normal): only the side opposite to the
    normal is kept.
    """

    centre: Array
    semi: ArrayLike
    axes: Array | None = None
    power: float = 2.0
    cut: tuple[Array, Array] | None = None

    def box(self) -> tuple[Array, Array]:
        axes = np.eye(3) if self.axes is None else self.axes
        half = np.abs(axes) @ np.asarray(self.semi, float)
        return np.asarray(self.centre) - half, np.asarray(self.centre) + half

    def distance(self, points: Array) -> Array:
        local = points - _column(self.centre)
        if self.axes is not None:
            local = np.tensordot(self.axes.T.astype(np.float32), local, 1)
        unit = np.abs(local / _column(self.semi))
        if self.power == 2.0:
            level = np.sqrt(np.square(unit).sum(0))
        else:
            level = (unit ** np.float32(self.power)).sum(0) ** np.float32(1 / self.power)
        # On the ray from the centre the surface is at radius / level; the gap approximates the distance.
        radius = np.sqrt(np.square(local).sum(0))
        gap: Array = np.where(level > 1e-3, radius * (1 - 1 / np.maximum(level, 1e-3)), -np.min(self.semi))
        if self.cut is not None:
            point, normal = self.cut
            gap = np.maximum(gap, np.tensordot(normal.astype(np.float32), points - _column(point), 1))
        return gap


@dataclass(frozen=True)
class Tube:
    """Round tube along a polyline of points (n, 3), with a radius that is linear between points."""

    points: Sequence[Any] | Array
    radii: ArrayLike

    def _path(self) -> tuple[Array, Array]:
        path = np.asarray(self.points, float)
        return path, np.broadcast_to(np.asarray(self.radii, float), len(path))

    def box(self) -> tuple[Array, Array]:
        path, radii = self._path()
        return (path - radii[:, None]).min(0), (path + radii[:, None]).max(0)

    def distance(self, points: Array) -> Array:
        path, radii = self._path()
        best: Array | None = None
        for start, end, first, last in zip(path, path[1:], radii, radii[1:], strict=False):
            along = end - start
            offset = points - _column(start)
            share = np.clip(np.tensordot((along / (along @ along)).astype(np.float32), offset, 1), 0, 1)
            offset -= share * _column(along)
            gap = np.sqrt(np.square(offset).sum(0)) - (np.float32(first) + share * np.float32(last - first))
            best = gap if best is None else np.minimum(best, gap)
        if best is None:
            raise ValueError("a tube needs at least two points")
        return best


@dataclass(frozen=True)
class Blend:
    """Union of shapes with fillets about ``fillet`` mm wide: a smooth minimum of their distances."""

    parts: Sequence[Shape]
    fillet: float = 3.0

    def box(self) -> tuple[Array, Array]:
        low, high = zip(*(part.box() for part in self.parts), strict=True)
        return np.min(low, 0) - self.fillet, np.max(high, 0) + self.fillet

    def distance(self, points: Array) -> Array:
        scale = np.float32(self.fillet)
        total = sum(np.exp(np.clip(-part.distance(points) / scale, -40, 40)) for part in self.parts)
        return np.asarray(-scale * np.log(total))


@dataclass(frozen=True)
class Sheared:
    """Ellipsoid whose layers across the unit vector ``along`` are shifted by ``slide`` mm per mm from its centre.

    ``slide`` is perpendicular to ``along``, so areas of layers, volume and depth are kept.
    """

    shape: Ellipsoid
    along: Array
    slide: Array

    def box(self) -> tuple[Array, Array]:
        low, high = self.shape.box()
        reach = np.abs(self.slide) * (np.abs(self.along) @ (high - low) / 2)
        return low - reach, high + reach

    def distance(self, points: Array) -> Array:
        depth = np.tensordot(self.along.astype(np.float32), points - _column(self.shape.centre), 1)
        return self.shape.distance(points - _column(self.slide) * depth)


def _column(vector: ArrayLike) -> Array:
    return np.asarray(vector, np.float32).reshape(3, 1, 1, 1)


class Canvas:
    """Voxel grid on which shapes are painted over each other, in body coordinates.

    The body coordinates of a voxel are ``(world - origin) / scale`` plus smooth waves of about ``warp`` mm drawn from
    ``rng``: image and label are deformed alike, and in the same way on every grid. ``image`` (float32) and ``label``
    (uint8) have the shape ``shape``.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: Sequence[int],
        affine: Array,
        origin: Array,
        scale: Array,
        warp: float,
    ) -> None:
        self.image = np.zeros(shape, np.float32)
        self.label = np.zeros(shape, np.uint8)
        self.soft = 0.5 * float(np.linalg.norm(affine[:3, :3], axis=0).mean())
        self._to_voxel = np.linalg.inv(affine)
        self._origin, self._scale = origin, scale
        index = [np.arange(n, dtype=np.float32).reshape(np.roll((-1, 1, 1), k)) for k, n in enumerate(shape)]

        def linear(row: Array, constant: float) -> Array:
            return np.asarray(sum(np.float32(row[k]) * index[k] for k in range(3)) + np.float32(constant))

        rows = affine[:3] / scale[:, None]
        self.points = np.stack([linear(rows[k], rows[k, 3] - origin[k] / scale[k]) for k in range(3)])
        self._margin = 0.0
        for _ in range(5):
            # 90 to 220 mm, longer than organs are thick, so that shapes bend but do not fold.
            wave = rng.normal(size=3)
            wave *= 2 * np.pi / rng.uniform(90, 220) / np.linalg.norm(wave)
            push = rng.normal(size=3)
            push *= warp * rng.uniform(0.3, 1) / np.linalg.norm(push)
            phase = linear(wave @ affine[:3, :3], wave @ (affine[:3, 3] - origin) + rng.uniform(0, 2 * np.pi))
            self.points += _column(push) * np.sin(phase)
            self._margin += float(np.abs(push).max())

    def paint(
        self, shape: Shape, value: float | Callable[[Array], Array], label: int | None = 0, grow: float = 0.0
    ) -> None:
        """Fill a shape, its surface moved outwards by ``grow`` mm, with an intensity and a label.

        The edge is as soft as a voxel is wide (partial volume). ``value`` may be a function of body points (3, ...);
        ``label`` None does not change the labels.
        """
        low, high = shape.box()
        reach = self._margin + grow + 2 * self.soft
        corners = np.array(list(product(*zip(low - reach, high + reach, strict=True))))
        voxels = (corners * self._scale + self._origin) @ self._to_voxel[:3, :3].T + self._to_voxel[:3, 3]
        start = np.clip(np.floor(voxels.min(0)), 0, self.label.shape).astype(int)
        stop = np.clip(np.ceil(voxels.max(0)) + 1, 0, self.label.shape).astype(int)
        if np.any(stop <= start):
            return
        where = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        points = self.points[(slice(None), *where)]
        inside = np.float32(0.5) - (shape.distance(points) - np.float32(grow)) / np.float32(2 * self.soft)
        cover = np.clip(inside, 0, 1)
        level = value(points) if callable(value) else np.float32(value)
        self.image[where] += cover * (level - self.image[where])
        if label is not None:
            self.label[where][inside > 0.5] = label


def scan(
    rng: np.random.Generator, image: Array, blur: float | Sequence[float], bias: float, texture: float, noise: float
) -> Array:
    """Simulate a scanner: add texture, blur, receive field and Rician noise to a clean picture (X, Y, Z).

    ``blur`` is the Gaussian's width in voxels (for all axes, or for each), ``bias`` the standard deviation of the
    field's logarithm, ``texture`` a share of the local intensity (blood, at 1, is smoother than tissue), ``noise`` as
    in `rician`. The result is never negative.
    """
    white = (rng.standard_normal(image.shape, np.float32) for _ in range(2))
    fine, coarse = (gaussian_filter(part, width) for part, width in zip(white, (1.0, 2.5), strict=True))
    grain = fine / fine.std() + 2 * np.clip(1.2 - image, 0, 1) * coarse / coarse.std()
    picture = image * np.clip(1 + np.float32(texture) * grain, 0.2, 2)
    picture = gaussian_filter(picture, blur)
    lines = (np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape)
    x, y, z = np.meshgrid(*lines, indexing="ij", sparse=True)
    weights = rng.normal(size=9).astype(np.float32)
    terms = (x, y, z, x * y, y * z, x * z, x * x - 0.5, y * y - 0.5, z * z - 0.5)
    field = np.asarray(sum(w * t for w, t in zip(weights, terms, strict=True)))
    picture *= np.exp(np.float32(bias) * field / field.std())
    return rician(rng, picture, noise)


def rician(rng: np.random.Generator, image: Array, noise: float) -> Array:
    """Return the magnitude of an image with Gaussian noise of this standard deviation in both channels.

    Gudbjartsson and Patz, 1995, https://doi.org/10.1002/mrm.1910340618.
    """
    real = image + np.float32(noise) * rng.standard_normal(image.shape, np.float32)
    return np.hypot(real, np.float32(noise) * rng.standard_normal(image.shape, np.float32))


def rotation(degrees: Sequence[float] | Array) -> Array:
    """Return the rotation matrix (3, 3) about the first, then the second, then the third axis."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[j, i] = np.sin(angle)
        step[i, j] = -step[j, i]
        turn = step @ turn
    return turn


def store(axcodes: str, affine: Array, *volumes: Array) -> tuple[Array, list[Array]]:
    """Reorder and flip RAS volumes and their affine to ``axcodes``, such as "PIR"."""
    codes = axcodes.upper()
    if len(codes) != 3 or any(sum(code in pair for code in codes) != 1 for pair in AXCODES):
        raise InputError(f"axcodes {axcodes!r}: name each of L/R, P/A and I/S once, as in 'RAS'")
    order = ornt_transform(io_orientation(np.eye(4)), axcodes2ornt(tuple(codes)))
    turned = [np.ascontiguousarray(apply_orientation(volume, order)) for volume in volumes]
    return affine @ inv_ornt_aff(order, volumes[0].shape), turned
