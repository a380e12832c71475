"""Time of the MRI artifacts compared with TorchIO and MONAI, and the effect of equal parameters.

    python benchmarks/artifacts.py [SCAN] [--repeats 9] [--picture compare.png]

Every pair runs alternately in this process, on the same 160 x 160 x 100 volume (a phantom chest, or the middle of
SCAN), as a user would call it: a transform that draws its parameters each time. The ratio matters, as the seconds
depend on the machine. `pip install torchio` for the comparison; a CUDA GPU adds a column.
The second table shows how much an artifact changes the image at each severity: the root mean square of the
difference, in percent of the image's 1 to 99 % range, mean over seeds, for heartseg and for TorchIO.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from monai import transforms as monai
from rich.console import Console
from rich.table import Table

from heartseg.artifacts import ARTIFACTS, LEVELS, at_severity, strengths
from heartseg.data.nifti import read_nifti
from heartseg.phantoms.atrium import atrium_phantom
from heartseg.report.figures import save

try:
    import torchio
except ImportError:
    torchio = None

SHAPE = (160, 160, 100)
SEEDS = 40


def main() -> None:
    """Print both tables, and draw the picture if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", nargs="?", type=Path, help="a NIfTI scan instead of the phantom")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--picture", type=Path, help="draw heartseg's artifacts next to TorchIO's into this file")
    arguments = parser.parse_args()
    image = volume(arguments.scan)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, TorchIO", end=" ")
    print(torchio.__version__ if torchio else "missing: pip install torchio for the comparison")
    Console().print(timings(image, arguments.repeats))
    if torchio:
        Console().print(effects(image))
        if arguments.picture:
            draw(image, arguments.picture)
            print(f"picture: {arguments.picture}")


def volume(scan: Path | None) -> torch.Tensor:
    """Return the volume ``[1, 160, 160, 100]``, float32, with isotropic voxels for both libraries."""
    if scan is None:
        voxels = atrium_phantom(np.random.default_rng(0), spacing=(1.6, 1.6, 1.6), shape=SHAPE, axcodes="RAS")[0]
    else:
        voxels = read_nifti(scan)[1]
        corner = [max(0, (have - want) // 2) for have, want in zip(voxels.shape, SHAPE, strict=True)]
        voxels = voxels[tuple(slice(c, c + want) for c, want in zip(corner, SHAPE, strict=True))]
        voxels = np.pad(voxels, [(0, want - have) for have, want in zip(voxels.shape, SHAPE, strict=True)])
    voxels = np.ascontiguousarray(voxels, dtype=np.float32)
    voxels -= voxels.min()
    return torch.from_numpy(voxels / voxels.max())[None]  # 0 to 1, where TorchIO's gamma is defined like ours


def peer(name: str, level: str, scale: float) -> Any:
    """Return TorchIO's transform with our parameters, None if it has none; ``scale`` is the image's 1 to 99 % range."""
    number = strengths(name, level)
    first = next(iter(number.values()))
    table: dict[str, Callable[[], Any]] = {
        "noise": lambda: torchio.RandomNoise(mean=0, std=(first * scale,) * 2),
        "motion": lambda: torchio.RandomMotion(first, number["translation"], num_transforms=2),
        "ghosting": lambda: torchio.RandomGhosting(num_ghosts=(4, 10), intensity=(first, first)),
        "spike": lambda: torchio.RandomSpike(num_spikes=(5, 5), intensity=(first, first)),
        "bias_field": lambda: torchio.RandomBiasField(coefficients=first),
        "blur": lambda: torchio.RandomBlur(std=(first, first)),
        "gamma": lambda: torchio.RandomGamma(log_gamma=(first, first)),
    }
    return table[name]() if torchio and name in table else None


def timings(image: torch.Tensor, repeats: int) -> Table:
    """Return the table of milliseconds and ratios at moderate severity."""
    scale = float(np.diff(np.percentile(image.numpy(), [1, 99]))[0])
    theirs: dict[str, Any] = {
        "spike": monai.RandKSpaceSpikeNoise(prob=1.0),
        "bias_field": monai.RandBiasField(prob=1.0, coeff_range=(0.3, 0.3)),
        "rician": monai.RandRicianNoise(prob=1.0, std=0.03 * scale),
        "noise": monai.RandGaussianNoise(prob=1.0, std=0.03 * scale),
        "blur": monai.GaussianSmooth(sigma=1.0),
        "gamma": monai.AdjustContrast(gamma=1.2),
    }
    gpu = torch.cuda.is_available()
    table = Table(title=f"One {'x'.join(map(str, SHAPE))} volume, moderate, median of {repeats}, milliseconds")
    columns = ["artifact", "heartseg", "TorchIO", "ratio", "MONAI", "ratio", *(["heartseg on the GPU"] if gpu else [])]
    for column in columns:
        table.add_column(column, justify="left" if column == "artifact" else "right")
    subject = torchio.ScalarImage(tensor=image) if torchio else None
    for row in [*ARTIFACTS, "motion in the slices"]:
        name = row.split()[0]
        ours = at_severity(name, "moderate", {"in_plane": 2} if " " in row else None).set_random_state(0)
        calls: dict[str, Callable[[], Any]] = {"ours": lambda ours=ours: ours(image)}
        if (torch_io := peer(name, "moderate", scale)) is not None:
            calls["torchio"] = lambda torch_io=torch_io: torch_io(subject)
        if name in theirs:
            calls["monai"] = lambda name=name: theirs[name](image)
        if gpu:
            there = image.cuda()
            calls["gpu"] = lambda ours=ours, there=there: (ours(there), torch.cuda.synchronize())
        median = alternately(calls, repeats)
        cells = [f"{median['ours']:.1f}"]
        for other in ("torchio", "monai"):
            known = other in median
            cells += [f"{median[other]:.1f}", f"{median[other] / median['ours']:.1f}"] if known else ["", ""]
        table.add_row(row.replace("_", " "), *cells, *([f"{median['gpu']:.2f}"] if gpu else []))
    return table


def alternately(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each call; calls alternate, after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def effects(image: torch.Tensor) -> Table:
    """Return the table of changes of every second voxel at each severity, for heartseg and TorchIO."""
    image = image[:, ::2, ::2, ::2].contiguous()
    scale = float(np.diff(np.percentile(image.numpy(), [1, 99]))[0])
    subject = torchio.ScalarImage(tensor=image)

    def change(make: Callable[[int], torch.Tensor]) -> str:
        errors = [float((make(seed) - image).square().mean().sqrt()) for seed in range(SEEDS)]
        return f"{statistics.mean(errors) / scale:.1%}"

    table = Table(title=f"Change of the image, root mean square in percent of its range, mean of {SEEDS} seeds")
    table.add_column("artifact")
    for level in LEVELS:
        for side in ("heartseg", "TorchIO"):
            table.add_column(f"{level} {side}", justify="right")
    for name in ARTIFACTS:
        cells = []
        for level in LEVELS:
            cells.append(change(lambda seed, n=name, s=level: at_severity(n, s).set_random_state(seed)(image)))
            other = peer(name, level, scale)
            cells.append("" if other is None else change(lambda seed, t=other: seeded(t, subject, seed)))
        table.add_row(name.replace("_", " "), *cells)
    return table


def seeded(transform: Any, subject: Any, seed: int) -> torch.Tensor:
    """Seed torch's global generator, which TorchIO uses, and apply the transform."""
    torch.manual_seed(seed)
    result: torch.Tensor = transform(subject).data
    return result


def draw(image: torch.Tensor, path: Path) -> None:
    """Draw the middle slice under heartseg's and TorchIO's artifacts at three severities."""
    scale = float(np.diff(np.percentile(image.numpy(), [1, 99]))[0])
    subject = torchio.ScalarImage(tensor=image)
    names = [name for name in ARTIFACTS if peer(name, "mild", scale) is not None]
    figure = Figure(figsize=(2 * len(LEVELS) * 2 + 0.6, 2.1 * len(names)), layout="constrained")
    rows = figure.subplots(len(names), 2 * len(LEVELS))
    low, high = np.percentile(image.numpy(), [0.5, 99.5])
    for axes, name in zip(rows, names, strict=True):
        for k, level in enumerate(LEVELS):
            pictures = {
                "heartseg": at_severity(name, level).set_random_state(0)(image),
                "TorchIO": seeded(peer(name, level, scale), subject, 0),
            }
            for place, (side, picture) in zip(axes[2 * k : 2 * k + 2], pictures.items(), strict=True):
                place.imshow(
                    np.asarray(picture[0, :, :, SHAPE[2] // 2]).T[::-1, ::-1], cmap="gray", vmin=low, vmax=high
                )
                place.set(xticks=[], yticks=[])
                place.set_title(f"{level}: {side}", fontsize=8)
        axes[0].set_ylabel(name.replace("_", " "))
    save(figure, path, dpi=70)


if __name__ == "__main__":
    main()
