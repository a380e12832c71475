"""Figure of a scan under every artifact."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.transforms import Orientation

from heartseg.artifacts import ARTIFACTS, LEVELS, at_severity, strengths
from heartseg.artifacts.severity import find_artifact
from heartseg.data.scans import LoadScand
from heartseg.phantoms.writing import atrium_phantom
from heartseg.report.figures import save
from heartseg.report.planes import cut

WIDTH = 2.3  # inches per picture
UNITS = {("motion", "degrees"): " deg", ("motion", "translation"): " mm", ("blur", "std"): " mm"}


def read_scan(path: str | os.PathLike[str] | None = None) -> MetaTensor:
    """Return a NIfTI scan as ``[1, x, y, z]``; without a path a phantom chest, always the same.

    Raises InputError for a file that is not a scan.
    """
    if path is not None:
        return LoadScand("image")({"image": os.fspath(path)})["image"]
    random = np.random.default_rng(0)
    voxels, _, affine = atrium_phantom(random, spacing=[1.8] * 3, shape=(180, 136, 120), axcodes="RAS")
    return MetaTensor(torch.from_numpy(voxels.astype(np.float32))[None], affine=torch.from_numpy(affine))


def draw_gallery(
    image: MetaTensor,
    path: str | os.PathLike[str],
    artifacts: Sequence[str] | None = None,
    seed: int = 0,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> None:
    """Draw the middle slice of a scan, clean and under each artifact at three severities.

    The slice is axial, but coronal for slice dropout, which affects an axial slice as a whole.

    Args:
        image: the scan, ``[1, x, y, z]``, with its affine.
        path: file to write; its suffix is the format.
        artifacts: names of artifacts; None for all.
        seed: seed of the artifacts' place and time, shared by the severities of an artifact.
        track: wraps the rows, to show progress.

    Raises InputError for an unknown artifact.
    """
    names = list(artifacts or ARTIFACTS)
    for name in names:
        find_artifact(name)
    scan: MetaTensor = Orientation("RAS", labels=None)(image)  # type: ignore[assignment]
    size = scan.pixdim.numpy() * scan.shape[1:]
    axes_cut = [1 if name == "slice_dropout" else 2 for name in names]
    tall = max(size[3 - fixed] / size[0] for fixed in axes_cut)
    figure = Figure(figsize=(WIDTH * (1 + len(LEVELS)), (WIDTH * tall + 0.25) * len(names)), layout="constrained")
    rows = figure.subplots(len(names), 1 + len(LEVELS), squeeze=False)
    low, high = np.percentile(scan.numpy(), [0.5, 99.5])
    for axes, fixed, name in zip(rows, axes_cut, track(names), strict=True):
        pictures = [("clean", scan), *((level, corrupted(scan, name, level, seed)) for level in LEVELS)]
        for place, (level, picture) in zip(axes, pictures, strict=True):
            aspect = float(scan.pixdim[3 - fixed] / scan.pixdim[0])
            shown = cut(picture[0].float().numpy(), fixed, 0, 3 - fixed, picture.shape[1 + fixed] // 2)
            place.imshow(shown, cmap="gray", vmin=low, vmax=high, aspect=aspect, origin="lower")
            place.set(xticks=[], yticks=[])
            place.set_title(level if level == "clean" else _panel_title(name, level), fontsize=8)
        axes[0].set_ylabel(name.replace("_", " "), fontsize=10)
    save(figure, path, dpi=70)


def corrupted(scan: torch.Tensor, name: str, severity: str | float, seed: int) -> torch.Tensor:
    """Apply an artifact; only the seed and the artifact decide its place and time."""
    random = np.random.RandomState([seed, zlib.crc32(name.encode())])
    transform = at_severity(name, severity)
    transform.set_random_state(state=random)
    return transform(scan)


def _panel_title(name: str, level: str) -> str:
    values = [f"{value:g}{UNITS.get((name, key), '')}" for key, value in strengths(name, level).items()]
    return f"{level}: {', '.join(values)}"
