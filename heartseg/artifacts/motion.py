"""Motion: the chest moves while k-space is acquired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from heartseg.artifacts.tensors import (
    axis_of,
    broadcast_along,
    finite_tensor,
    from_batch,
    half_spectrum,
    spacing_of,
    to_batch,
)
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range, direction
from heartseg.data.stacks import stack_axis
from heartseg.errors import InputError

# Cubic convolution (Keys, 1981): weights of the four neighbours of a point, from the powers 0 to 3 of its distance to
# the second neighbour.
KEYS = torch.tensor([[0, 1, 0, 0], [-0.5, 0, 0.5, 0], [1, -2.5, 2, -0.5], [-0.5, 1.5, -1.5, 0.5]], dtype=torch.float64)


def motion(
    image: torch.Tensor,
    rotations: Sequence[Any] | torch.Tensor,
    translations: Sequence[Any] | torch.Tensor,
    times: Sequence[float],
    axis: int = 0,
    spacing: float | Sequence[float] | None = None,
    spatial_dims: int = 3,
) -> torch.Tensor:
    """Return the image of an object that moved rigidly M times during the acquisition.

    K-space lines are acquired in order along the phase-encoding ``axis``, from one edge through the centre to the
    other. The M moves divide them into M + 1 segments, each with its own pose; the result is the real part of the
    image reconstructed from all of them (Shaw et al., MIDL 2019). The segment that holds the centre of k-space keeps
    the image's own pose, so the anatomy and the mean stay the same. As segments are made of lines along one axis,
    only that axis needs a Fourier transform.

    Outside the image its border is replicated. Interpolation is cubic (Keys, 1981), plane by plane.

    Args:
        image: ``[..., *spatial]``.
        rotations: of the object in the other segments, in order, in degrees about the image's centre: ``[M, 3]`` as
            rotation vectors (axis times angle, in the image's axes), ``[M]`` in 2D.
        translations: ``[M, spatial_dims]``, mm along the image's axes.
        times: M ascending numbers between 0 and 1: when the moves happen, as a share of the acquisition.
        axis: phase-encoding axis, counted among the spatial axes.
        spacing: voxel size in mm; None takes it from the affine, or 1 mm if there is no affine.
        spatial_dims: 2 or 3.

    Raises InputError for poses that are not finite numbers of these shapes, for times that do not ascend, and for
    poses and times of different number.
    """
    x = to_batch(image, spatial_dims)
    sizes = spacing_of(image, spatial_dims, spacing)
    axis = 1 + axis_of(axis, spatial_dims)
    turns = _rows("rotations", rotations, 1 if spatial_dims == 2 else 3)
    shifts = _rows("translations", translations, spatial_dims)
    moments = finite_tensor("motion: times", times).flatten().tolist()
    if not len(turns) == len(shifts) == len(moments):
        raise InputError(
            f"motion: {len(turns)} rotations, {len(shifts)} translations, {len(moments)} times; give one each per move"
        )
    if not all(a < b for a, b in zip((0, *moments), (*moments, 1), strict=True)):
        raise InputError(f"motion: times {moments} do not ascend between 0 and 1; give the moves in order")
    moved = [i for i in range(len(turns)) if turns[i].any() or shifts[i].any()]
    if not moved:
        return image.clone()
    n = x.shape[axis]
    weights = half_spectrum(_segments(n, moments)[moved].to(x))
    spectrum = torch.zeros((), device=x.device)
    for i, weight in zip(moved, weights, strict=True):
        # Only the difference from the image is transformed, so the image itself needs no transform.
        change = _pose(x, turns[i], shifts[i], sizes).sub_(x)
        spectrum = torch.fft.rfft(change, dim=axis).mul_(broadcast_along(weight, axis, x.ndim)).add_(spectrum)
    return from_batch(torch.fft.irfft(spectrum, n=n, dim=axis).add_(x), image)


def _rows(name: str, values: Any, width: int) -> torch.Tensor:
    """Return the numbers of each move, ``[M, width]``; for a width of 1 a flat list is accepted too."""
    rows = finite_tensor(f"motion: {name}", values)
    if rows.ndim == 1 and width == 1 or not rows.numel():
        rows = rows.reshape(-1, width)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InputError(f"motion: {name} have shape {tuple(rows.shape)}, not [moves, {width}]; give one row per move")
    return rows


def _segments(n: int, times: Sequence[float]) -> torch.Tensor:
    """Return a mask ``[M, n]`` of the n lines for each segment except the central one, in the order of acquisition."""
    edges = [0, *(round(time * n) for time in times), n]
    lines = torch.arange(n)
    whole = torch.stack([(lines >= a) & (lines < b) for a, b in zip(edges[:-1], edges[1:], strict=True)])
    return whole[~whole[:, n // 2]]


def _pose(x: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor, sizes: Sequence[float]) -> torch.Tensor:
    """Move the object in ``x`` ``[N, *spatial]``: what was at r, in mm from the centre, is now at R r + shift.

    A rotation is done as three rotations within planes, or as one if it is about a single axis of the image.
    """
    if len(sizes) == 2:
        return _plane(x, (1, 2), float(turn), shift.tolist(), sizes)
    main = int(turn.abs().argmax()) if turn.any() else int(shift.abs().argmin())
    order = [axis for axis in range(3) if axis != main] + [main]
    angles = Rotation.from_rotvec(turn.numpy(), degrees=True).as_euler("".join("xyz"[a] for a in order), degrees=True)
    # The last plane applies two components of the shift, the one before it the third, which the last does not change.
    shifts = [(None, None), (main, None), (order[0], order[1])]
    for axis, angle, parts in zip(order, angles, shifts, strict=True):
        plane = ((axis + 1) % 3, (axis + 2) % 3)  # so that the turn is from the first to the second
        along = [float(shift[a]) if a in parts else 0.0 for a in plane]
        if abs(angle) > 1e-9 or any(along) or axis == main:  # the result is never x itself
            x = _plane(x, (1 + plane[0], 1 + plane[1]), float(angle), along, [sizes[a] for a in plane])
    return x


def _plane(
    x: torch.Tensor, axes: tuple[int, int], angle: float, shift: Sequence[float], sizes: Sequence[float]
) -> torch.Tensor:
    """Rotate all planes spanned by two axes of ``x``, in degrees from the first to the second, then shift them by mm.

    A point has the same neighbours and weights in every plane. So the image is a table with one row per point of a
    plane, which holds the values of all planes, and each point of the result is a weighted sum of 16 rows.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    p, q = (x.shape[axis] for axis in axes)
    u = (torch.arange(p, dtype=torch.float64, device=x.device)[:, None] - (p - 1) / 2) * sizes[0] - shift[0]
    v = (torch.arange(q, dtype=torch.float64, device=x.device)[None] - (q - 1) / 2) * sizes[1] - shift[1]
    # Where the content of each point comes from, in voxels: the inverse rotation.
    places = ((cos * u + sin * v) / sizes[0] + (p - 1) / 2, (cos * v - sin * u) / sizes[1] + (q - 1) / 2)
    (rows, high), (columns, wide) = (_cubic(at, n) for at, n in zip(places, (p, q), strict=True))
    index = (rows[:, :, :, None] * q + columns[:, :, None, :]).reshape(p * q, -1)
    weight = (high.to(x)[:, :, :, None] * wide.to(x)[:, :, None, :]).reshape(p * q, -1)
    planes = x.movedim(axes, (0, 1))
    table = planes.reshape(p * q, -1).contiguous()
    turned = F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")
    return turned.reshape(planes.shape).movedim((0, 1), axes)


def _cubic(at: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the four neighbours of each point on a line of n voxels, ``[..., 4]``, and their weights (Keys, 1981)."""
    low = at.floor()
    t = at - low
    weight = torch.stack([torch.ones_like(t), t, t * t, t * t * t], dim=-1) @ KEYS.to(at.device)
    index = low.long()[..., None] + torch.arange(-1, 3, device=at.device)
    return index.clamp_(0, n - 1), weight


class RandMotion(RandArtifact):
    """Rigid motion at random times of the acquisition, see `motion`.

    Args:
        prob: probability of the artifact.
        degrees: angle of each move about a random axis, drawn from 0 to this number or from a pair (low, high).
        translation: mm of each move in a random direction, drawn likewise.
        moves: number of moves; they are evenly spaced in time, each up to 0.3 of an interval early or late.
        in_plane: spatial axis about which the chest rotates and along which it never moves. None lets it move in any
            direction, except that in a stack (see `heartseg.data.stacks.stack_axis`) it stays within the slices, as
            each of them has its own k-space. Motion within slices takes a fraction of the time to compute.
        axis: phase-encoding axis; None draws one, never ``in_plane`` nor the axis through a stack's slices.
    """

    severities: ClassVar[Mapping[str, tuple[float, float, float]]] = {
        "degrees": (5, 10, 20),
        "translation": (2.5, 5, 10),
    }
    function = staticmethod(motion)

    def __init__(
        self,
        prob: float = 0.1,
        degrees: Range = 10.0,
        translation: Range = 5.0,
        moves: int = 2,
        in_plane: int | None = None,
        axis: int | None = None,
    ) -> None:
        super().__init__(prob)
        self.degrees = self.strength_range("degrees", degrees)
        self.translation = self.strength_range("translation", translation)
        self.moves = self.whole_number("moves", moves)
        self.in_plane = self.spatial_axis("in_plane", in_plane)
        self.axis = self.spatial_axis("axis", axis)
        if in_plane is not None and self.axis == self.in_plane:
            raise InputError(
                f"RandMotion: axis {axis} is in_plane, along which nothing moves; give another axis or None"
            )

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw the poses and times of one acquisition."""
        dims = len(shape)
        through = stack_axis(spacing) if self.in_plane is None or dims == 2 else axis_of(self.in_plane, dims)
        rotations: list[list[float]] = []
        translations: list[np.ndarray] = []
        for _ in range(self.moves):
            angle, distance = self.uniform(self.degrees), self.uniform(self.translation)
            if dims == 2:
                rotations.append([angle * self.R.choice([-1, 1])])
            else:
                rotations.append(list(angle * direction(self.R, 3, only=through)))
            translations.append(distance * direction(self.R, dims, never=through))
        step = 1 / (self.moves + 1)
        times = [step * (i + 1 + self.R.uniform(-0.3, 0.3)) for i in range(self.moves)]
        return {
            "rotations": [[float(value) for value in turn] for turn in rotations],
            "translations": [[float(value) for value in shift] for shift in translations],
            "times": times,
            "axis": self.R.choice([a for a in range(dims) if a != through]) if self.axis is None else self.axis,
            "spacing": list(spacing),
        }


class RandMotiond(RandArtifactd):
    """Dictionary form of `RandMotion`."""

    array = RandMotion
