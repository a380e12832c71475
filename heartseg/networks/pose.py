"""A small network that recognises the orientation of a chest in its array, among all 48 axis orders and flips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations, product

import torch
import torch.nn.functional as F
from torch import nn

from heartseg.networks.weights import load_weights

# A pose is (order, flips): axis j of the array shows axis order[j] of the RAS anatomy, backwards if flips[j].
# Number 0 is the identity: the array is RAS.
POSES: tuple[tuple[tuple[int, ...], tuple[bool, ...]], ...] = tuple(
    (order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)
)
SPACING = 4.5  # mm; a heart is about 25 voxels wide
SIZE = 28  # voxels: a cube of 126 mm, which fits into the thinnest cardiac field of view


def pose_axcodes(pose: int) -> str:
    """Return the anatomical axis codes of an array in a pose, such as ``"ASR"``."""
    order, flips = POSES[pose]
    return "".join("LPI"[axis] if flip else "RAS"[axis] for axis, flip in zip(order, flips, strict=True))


def axcodes_pose(axcodes: str) -> int:
    """Return the pose with these axis codes. Raises ValueError if they do not name three different axes."""
    codes = [pose_axcodes(pose) for pose in range(len(POSES))]
    if axcodes.upper() not in codes:
        raise ValueError(f"{axcodes!r} does not name three axes, such as RAS or ASR")
    return codes.index(axcodes.upper())


def apply_pose(volume: torch.Tensor, pose: int) -> torch.Tensor:
    """Reorder an RAS array ``[..., x, y, z]`` into a pose, without interpolation."""
    order, flips = POSES[pose]
    lead = volume.ndim - 3
    volume = volume.permute(*range(lead), *(lead + axis for axis in order))
    return volume.flip([lead + axis for axis, flip in enumerate(flips) if flip])


@lru_cache(maxsize=1)
def _composition() -> torch.Tensor:
    """Return a table ``[48, 48]`` with, at [h, k], the pose that results from pose k followed by pose h."""
    table = torch.empty(len(POSES), len(POSES), dtype=torch.long)
    index = {pose: number for number, pose in enumerate(POSES)}
    for h, (order_h, flips_h) in enumerate(POSES):
        for k, (order_k, flips_k) in enumerate(POSES):
            order = tuple(order_k[axis] for axis in order_h)
            flips = tuple(flips_k[axis] ^ flip for axis, flip in zip(order_h, flips_h, strict=True))
            table[h, k] = index[order, flips]
    return table


class PoseNet(nn.Module):
    """Network that gives logits ``[N, 48]`` of the poses of volumes ``[N, 1, 28, 28, 28]`` at 4.5 mm, scaled to 0..1.

    Four convolutions of stride 1 or 2 and a dense layer without global pooling, as the position of the spine decides.
    0.4 M parameters.
    """

    def __init__(self, channels: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for stride, factor in ((1, 1), (2, 2), (2, 4), (2, 4)):
            layers += [
                nn.Conv3d(width, channels * factor, 3, stride=stride, padding=1, bias=False),
                nn.InstanceNorm3d(channels * factor, affine=True),
                nn.LeakyReLU(0.1),
            ]
            width = channels * factor
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(width * 4**3, len(POSES)))

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(volume))
        return logits


def shrink(volume: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Resample a volume ``[1, x, y, z]`` to 4.5 mm by averaging within voxels, so that fine scans do not alias."""
    size = [max(1, round(n * float(s) / SPACING)) for n, s in zip(volume.shape[1:], spacing, strict=True)]
    return F.interpolate(volume[None].float(), size=size, mode="area")[0]


def unit_range(volume: torch.Tensor) -> torch.Tensor:
    """Scale intensities from their 1 to 99 % range to 0..1, and clip them."""
    low, high = torch.quantile(volume, torch.tensor([0.01, 0.99], device=volume.device))
    return ((volume - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)


def centre_cube(volume: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Return the middle 126 mm of a volume ``[1, x, y, z]`` at 4.5 mm, scaled as in `unit_range`, padded with 0."""
    small = shrink(volume, spacing)
    for axis in (1, 2, 3):
        extra = small.shape[axis] - SIZE
        if extra > 0:
            small = small.narrow(axis, extra // 2, SIZE)
    small = unit_range(small)
    pad = [SIZE - n for n in small.shape[1:]]
    return F.pad(small, [w for p in reversed(pad) for w in (p // 2, p - p // 2)])


@torch.inference_mode()
def pose_probabilities(network: nn.Module, cube: torch.Tensor) -> torch.Tensor:
    """Return the probability ``[48]`` of each pose of one cube ``[1, 28, 28, 28]``.

    The network sees the cube in all 48 poses; the log probabilities are mapped back to the first pose and averaged.
    So the result rotates with the volume, and a single mistaken view does not decide.
    """
    network.eval()
    views = torch.stack([apply_pose(cube, h) for h in range(len(POSES))])
    log = network(views).log_softmax(dim=1)
    return log.gather(1, _composition().to(log.device)).mean(dim=0).softmax(dim=0).cpu()


@lru_cache(maxsize=4)
def load_pose_network(weights: str) -> PoseNet:
    """Return a PoseNet with these weights, cached for the next scan. Raises InputError as `load_weights`."""
    return load_weights(PoseNet(), weights).eval()
