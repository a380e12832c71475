"""Surface metrics of a pair of masks: heartseg's single pass, MONAI's three calls and surface-distance.

    python benchmarks/metrics.py [--repeats 5] [--pair PRED TRUTH] [--medpy]

Without --pair the masks are synthetic: an atrium with its veins in a scan of 320 x 320 x 130 voxels, and a smooth
deformation of it; the same shapes at six times the volume; and two atria at opposite ends of the scan. The methods
alternate in this process; the ratio matters, as the seconds depend on the machine. MONAI computes HD95, ASSD and NSD
with one call each; so does surface-distance, from distances computed once, between surface elements at the corners of
voxels, weighted by area, so its values differ slightly by definition. MedPy takes HD95 over both directions together
and has no NSD. heartseg also computes HD and boundary Dice.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from rich.console import Console
from rich.table import Table

from heartseg.errors import readable_errors
from heartseg.machine import machine_line
from heartseg.metrics import surface_metrics

SHAPE, SPACING = (320, 320, 130), (1.25, 1.25, 1.37)
TOLERANCE = 2.0  # mm
Values = tuple[float | None, ...]  # HD95, ASSD, NSD
Way = Callable[[torch.Tensor, torch.Tensor, tuple[float, ...]], Values]


def main() -> None:
    """Print two tables: seconds and ratios, and the values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", help="ignored: `make bench` passes scans, which are not masks")
    parser.add_argument(
        "--pair", nargs=2, type=Path, metavar=("PRED", "TRUTH"), help="NIfTI masks; values above 0 are foreground"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--medpy", action="store_true", help="also run MedPy, once, as it takes many seconds")
    arguments = parser.parse_args()

    readable_errors()
    warnings.simplefilter("ignore")  # the other libraries warn about their own calls
    torch.set_num_threads(arguments.threads)
    ways: dict[str, Way] = {"heartseg": heartseg, "MONAI": monai}
    if torch.cuda.is_available():
        ways["heartseg GPU"] = heartseg_gpu
    peers = {"surface-distance": ("surface_distance", surface_distance)}
    if arguments.medpy:
        peers["MedPy"] = ("medpy", medpy)
    for name, (module, way) in peers.items():
        if importlib.util.find_spec(module):
            ways[name] = way
        else:
            print(f"{name} is not installed, so it is skipped")
    print(machine_line(torch.device("cpu"), False, 0))

    times = Table(title=f"Seconds, median of {arguments.repeats}, {arguments.threads} threads (times heartseg's)")
    values = Table(title=f"HD95 mm / ASSD mm / NSD at {TOLERANCE:g} mm")
    for table in (times, values):
        for column in ("pair", *ways):
            table.add_column(column, justify="left" if column == "pair" else "right")
    for name, pred, truth, spacing in [from_files(*arguments.pair)] if arguments.pair else made_pairs():
        seconds, found = measure(ways, (pred, truth, spacing), arguments.repeats)
        times.add_row(name, *(f"{s:.4f} ({s / seconds['heartseg']:.1f})" for s in seconds.values()))
        values.add_row(name, *(" / ".join("-" if v is None else f"{v:.4f}" for v in found[way]) for way in ways))
    Console().print(times, values)


def measure(ways: dict[str, Way], pair: tuple[Any, ...], repeats: int) -> tuple[dict[str, float], dict[str, Values]]:
    """Return median seconds and values of each method; they alternate after a warm-up. MedPy runs only once."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            if name == "MedPy" and turn:
                continue
            start = time.perf_counter()
            found[name] = way(*pair)
            if turn or name == "MedPy":
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}, found


def heartseg(pred: torch.Tensor, truth: torch.Tensor, spacing: tuple[float, ...]) -> Values:
    found = surface_metrics(pred, truth, spacing, TOLERANCE)
    return found["hd95"], found["assd"], found["nsd"]


def heartseg_gpu(pred: torch.Tensor, truth: torch.Tensor, spacing: tuple[float, ...]) -> Values:
    """Include the copy to the GPU."""
    return heartseg(pred.cuda(), truth.cuda(), spacing)


def monai(pred: torch.Tensor, truth: torch.Tensor, spacing: tuple[float, ...]) -> Values:
    pair = {"y_pred": pred[None, None], "y": truth[None, None], "include_background": True, "spacing": list(spacing)}
    hd95 = compute_hausdorff_distance(percentile=95, **pair)
    assd = compute_average_surface_distance(symmetric=True, **pair)
    return hd95.item(), assd.item(), compute_surface_dice(class_thresholds=[TOLERANCE], **pair).item()


def surface_distance(pred: torch.Tensor, truth: torch.Tensor, spacing: tuple[float, ...]) -> Values:
    import surface_distance as peer

    distances = peer.compute_surface_distances(truth.numpy(), pred.numpy(), spacing)
    hd95 = peer.compute_robust_hausdorff(distances, 95)
    assd = np.mean(peer.compute_average_surface_distance(distances))
    return float(hd95), float(assd), float(peer.compute_surface_dice_at_tolerance(distances, TOLERANCE))


def medpy(pred: torch.Tensor, truth: torch.Tensor, spacing: tuple[float, ...]) -> Values:
    from medpy.metric import binary

    one, other = pred.numpy(), truth.numpy()
    return float(binary.hd95(one, other, spacing)), float(binary.assd(one, other, spacing)), None


def from_files(pred: Path, truth: Path) -> tuple[str, torch.Tensor, torch.Tensor, tuple[float, ...]]:
    images = [nibabel.load(path) for path in (pred, truth)]
    masks = [torch.from_numpy(np.ascontiguousarray(np.asanyarray(image.dataobj) > 0)) for image in images]
    return truth.name, *masks, tuple(round(float(s), 6) for s in images[1].header.get_zooms()[:3])


def made_pairs() -> Iterator[tuple[str, torch.Tensor, torch.Tensor, tuple[float, ...]]]:
    millilitre = SPACING[0] * SPACING[1] * SPACING[2] / 1000
    for name, scale in (("atrium", 1.0), ("large", 1.8)):
        surface = atrium(scale) + 2 * smooth_noise(0, 25)
        truth, pred = surface < 0, surface + 3 * smooth_noise(1, 14) < 0
        yield f"{name}, {truth.sum() * millilitre:.0f} mL", pred, truth, SPACING
    truth = atrium() < 0
    yield "far apart", truth.roll((90, 60, 20), (0, 1, 2)), truth.roll((-90, -60, -20), (0, 1, 2)), SPACING


def atrium(scale: float = 1.0) -> torch.Tensor:
    """Return the approximate distance in mm from an ellipsoid with four tubes, negative inside, on a scan's grid."""
    axes = [(torch.arange(size) - (size - 1) / 2) * step / scale for size, step in zip(SHAPE, SPACING, strict=True)]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    distance = ((place / torch.tensor([28.0, 20, 24])).norm(dim=-1) - 1) * 23
    for x, z in ((1, 0.5), (1, -0.6), (-1, 0.5), (-1, -0.5)):
        start, along = torch.tensor([18.0 * x, -8, 14 * z]), torch.tensor([27.0 * x, -17, 26 * z])
        share = ((place - start) @ along / along.dot(along)).clamp(0, 1)
        distance = distance.minimum((place - start - share[..., None] * along).norm(dim=-1) - 5)
    return distance * scale


def smooth_noise(seed: int, length: float) -> torch.Tensor:
    """Return normally distributed noise that varies over ``length`` mm."""
    coarse = [round(size * step / length) for size, step in zip(SHAPE, SPACING, strict=True)]
    noise = torch.randn(1, 1, *coarse, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, SHAPE, mode="trilinear", align_corners=True)[0, 0]


if __name__ == "__main__":
    main()
