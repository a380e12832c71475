"""The chest moves while k-space is acquired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from heartseg.artifacts.tensors import axis_of, begin, beside, finish, half_spectrum, numbers, spacing_of, unchanged
from heartseg.artifacts.transform import RandArtifact, RandArtifactd, Range, direction
from heartseg.data.stacks import stack_axis
from heartseg.errors import InputError

# Weights of the four neighbours of a place, from the powers 0 to 3 of its distance to the second of them (Keys, 1981).
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
    """K-space of an image whose object moved, rigidly, M times during the acquisition.

    K-space lines follow each other along the phase-encoding ``axis``, from one edge over the centre to the
    other. The M moves cut them into M + 1 segments, each seen from another pose; the image is the real part
    of what the whole reconstructs (Shaw et al., MIDL 2019). The segment with the centre of k-space keeps the
    image's own pose, so the anatomy stays where it is, and the mean is kept. Segments of lines along one axis
    need a transform along that axis alone.

    Args:
        image: ``[..., *spatial]``.
        rotations: of the object in the other segments, in their order, degrees about the image's centre:
            ``[M, 3]`` as rotation vectors (axis times angle; the axes are the image's), ``[M]`` in 2D.
        translations: ``[M, spatial_dims]``, mm along the image's axes.
        times: M numbers between 0 and 1, ascending: when the moves happen, as a share of the acquisition.
        axis: the phase-encoding axis, counted among the spatial ones.
        spacing: mm; None takes the affine's, or 1 mm.
        spatial_dims: 2 or 3.

    Outside the image its border goes on. Interpolation is cubic (Keys, 1981), plane by plane. Raises InputError
    for poses that are no finite numbers of that shape, and poses and times that do not fit each other.
    """
    x = begin(image, spatial_dims)
    sizes = spacing_of(image, spatial_dims, spacing)
    axis = 1 + axis_of(axis, spatial_dims)
    turns = _rows("rotations", rotations, 1 if spatial_dims == 2 else 3)
    shifts = _rows("translations", translations, spatial_dims)
    moments = numbers("motion: times", times).flatten().tolist()
    if not len(turns) == len(shifts) == len(moments):
        raise InputError(
            f"motion: {len(turns)} rotations, {len(shifts)} translations, {len(moments)} times; give one each per move"
        )
    if not all(a < b for a, b in zip((0, *moments), (*moments, 1), strict=True)):
        raise InputError(f"motion: times {moments} do not ascend between 0 and 1; give the moves in their order")
    moved = [i for i in range(len(turns)) if turns[i].any() or shifts[i].any()]
    if not moved:
        return unchanged(image)
    n = x.shape[axis]
    weights = half_spectrum(_segments(n, moments)[moved].to(x))
    spectrum = torch.zeros((), device=x.device)
    for i, weight in zip(moved, weights, strict=True):
        # What a segment sees other than the image: so the image itself needs no transform.
        change = _pose(x, turns[i], shifts[i], sizes).sub_(x)
        spectrum = torch.fft.rfft(change, dim=axis).mul_(beside(weight, axis, x.ndim)).add_(spectrum)
    return finish(torch.fft.irfft(spectrum, n=n, dim=axis).add_(x), image)


def _rows(name: str, values: Any, width: int) -> torch.Tensor:
    """Numbers per move, ``[M, width]``; where each move has one, they may stand by themselves."""
    rows = numbers(f"motion: {name}", values)
    if rows.ndim == 1 and width == 1 or not rows.numel():
        rows = rows.reshape(-1, width)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InputError(f"motion: {name} {tuple(rows.shape)} are not [moves, {width}] finite numbers; give a row each")
    return rows


def _segments(n: int, times: Sequence[float]) -> torch.Tensor:
    """Which of n lines belong to each segment but the central one: ``[M, n]``, in the order of acquisition."""
    edges = [0, *(round(time * n) for time in times), n]
    lines = torch.arange(n)
    whole = torch.stack([(lines >= a) & (lines < b) for a, b in zip(edges[:-1], edges[1:], strict=True)])
    return whole[~whole[:, n // 2]]


def _pose(x: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor, sizes: Sequence[float]) -> torch.Tensor:
    """The object moved: what was at r, in mm from the centre, lies at R r + shift. ``x`` is ``[N, *spatial]``.

    A rotation is three rotations within planes, and one where the chest turns about a single axis.
    """
    if len(sizes) == 2:
        return _plane(x, (1, 2), float(turn), shift.tolist(), sizes)
    main = int(turn.abs().argmax()) if turn.any() else int(shift.abs().argmin())
    order = [axis for axis in range(3) if axis != main] + [main]
    angles = Rotation.from_rotvec(turn.numpy(), degrees=True).as_euler("".join("xyz"[a] for a in order), degrees=True)
    # The last plane holds two components of the shift, the one before it the third, which the last leaves alone.
    shifts = [(None, None), (main, None), (order[0], order[1])]
    for axis, angle, parts in zip(order, angles, shifts, strict=True):
        plane = ((axis + 1) % 3, (axis + 2) % 3)  # so that the turn is from the first to the second
        along = [float(shift[a]) if a in parts else 0.0 for a in plane]
        if abs(angle) > 1e-9 or any(along) or axis == main:  # what comes back is never x itself
            x = _plane(x, (1 + plane[0], 1 + plane[1]), float(angle), along, [sizes[a] for a in plane])
    return x


def _plane(
    x: torch.Tensor, axes: tuple[int, int], angle: float, shift: Sequence[float], sizes: Sequence[float]
) -> torch.Tensor:
    """Turn all planes along two axes of ``x`` by an angle in degrees from the first to the second, then shift by mm.

    Every plane has the same neighbours and the same weights for a place, so that a row of the picture is a
    vector of all planes, and a place of the result a weighted sum of 16 rows.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    p, q = (x.shape[axis] for axis in axes)
    u = (torch.arange(p, dtype=torch.float64, device=x.device)[:, None] - (p - 1) / 2) * sizes[0] - shift[0]
    v = (torch.arange(q, dtype=torch.float64, device=x.device)[None] - (q - 1) / 2) * sizes[1] - shift[1]
    # Where each place's content comes from: turned back, in voxels.
    places = ((cos * u + sin * v) / sizes[0] + (p - 1) / 2, (cos * v - sin * u) / sizes[1] + (q - 1) / 2)
    (rows, high), (columns, wide) = (_cubic(at, n) for at, n in zip(places, (p, q), strict=True))
    index = (rows[:, :, :, None] * q + columns[:, :, None, :]).reshape(p * q, -1)
    weight = (high.to(x)[:, :, :, None] * wide.to(x)[:, :, None, :]).reshape(p * q, -1)
    planes = x.movedim(axes, (0, 1))
    table = planes.reshape(p * q, -1).contiguous()
    turned = F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")
    return turned.reshape(planes.shape).movedim((0, 1), axes)


def _cubic(at: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The four neighbours of each place on a line of n voxels, ``[..., 4]``, and their weights (Keys, 1981)."""
    low = at.floor()
    t = at - low
    weight = torch.stack([torch.ones_like(t), t, t * t, t * t * t], dim=-1) @ KEYS.to(at.device)
    index = low.long()[..., None] + torch.arange(-1, 3, device=at.device)
    return index.clamp_(0, n - 1), weight


class RandMotion(RandArtifact):
    """Rigid motion at random moments of the acquisition, see `motion`.

    Args:
        prob: how often.
        degrees: angle of each move, about a random axis: from 0 to this, or a pair (low, high).
        translation: mm of each move, in a random direction, likewise.
        moves: how many; they come about evenly, each up to 0.3 of an interval early or late.
        in_plane: the spatial axis about which the chest turns and along which it never moves; None lets it
            move in any direction, but within the slices of a stack (see `heartseg.data.stacks.stack_axis`), each
            of which has a k-space of its own. Moving within the slices costs a fraction of the time.
        axis: the phase-encoding axis; None draws one (not the one of ``in_plane``, nor through a stack's slices).
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
        self.degrees = self.range("degrees", degrees)
        self.translation = self.range("translation", translation)
        self.moves = self.single("moves", moves)
        self.in_plane = self.place("in_plane", in_plane)
        self.axis = self.place("axis", axis)
        if in_plane is not None and self.axis == self.in_plane:
            raise InputError(f"RandMotion: axis {axis} is in_plane, along which nothing moves; give another or None")

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Poses and times for one acquisition."""
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
