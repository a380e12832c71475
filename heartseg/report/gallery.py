"""A picture of what every artifact does to a scan."""

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

WIDTH = 2.3  # inches of a picture
UNITS = {"degrees": " deg", "translation": " mm"}


def read_scan(path: str | os.PathLike[str] | None = None) -> MetaTensor:
    """A NIfTI scan as ``[1, x, y, z]``; without a path a phantom chest, always the same.

    Raises InputError for a file that is no scan.
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
    """Draw a slice through the middle of a scan, clean and under each artifact at three severities.

    The slice is axial; coronal where slices are lost, since an axial one is lost or is not.

    Args:
        image: the scan, ``[1, x, y, z]``, with its affine.
        path: file to write; its suffix chooses the format.
        artifacts: which; None for all.
        seed: of where and when; an artifact's severities share it.
        track: wraps the rows, to show progress.

    Raises InputError for an unknown artifact.
    """
    names = list(artifacts or ARTIFACTS)
    for name in names:
        find_artifact(name)
    scan: MetaTensor = Orientation("RAS", labels=None)(image)  # type: ignore[assignment]
    size = scan.pixdim.numpy() * scan.shape[1:]
    cuts = [1 if name == "slice_dropout" else 2 for name in names]
    tall = max(size[3 - cut] / size[0] for cut in cuts)
    figure = Figure(figsize=(WIDTH * (1 + len(LEVELS)), (WIDTH * tall + 0.25) * len(names)), layout="constrained")
    rows = figure.subplots(len(names), 1 + len(LEVELS), squeeze=False)
    low, high = np.percentile(scan.numpy(), [0.5, 99.5])
    for axes, cut, name in zip(rows, cuts, track(names), strict=True):
        pictures = [("clean", scan), *((level, corrupted(scan, name, level, seed)) for level in LEVELS)]
        for place, (level, picture) in zip(axes, pictures, strict=True):
            aspect = float(scan.pixdim[3 - cut] / scan.pixdim[0])
            place.imshow(_slice(picture, cut), cmap="gray", vmin=low, vmax=high, aspect=aspect, origin="lower")
            place.set(xticks=[], yticks=[])
            place.set_title(level if level == "clean" else _words(name, level), fontsize=8)
        axes[0].set_ylabel(name.replace("_", " "), fontsize=10)
    save(figure, path, dpi=70)


def corrupted(scan: torch.Tensor, name: str, severity: str | float, seed: int) -> torch.Tensor:
    """The scan under an artifact; the seed and the artifact alone decide where and when."""
    random = np.random.RandomState([seed, zlib.crc32(name.encode())])
    transform = at_severity(name, severity)
    transform.set_random_state(state=random)
    return transform(scan)


def _words(name: str, level: str) -> str:
    numbers = [f"{value:g}{UNITS.get(key, '')}" for key, value in strengths(name, level).items()]
    return f"{level}: {', '.join(numbers)}" + (" mm" if name == "blur" else "")


def _slice(scan: torch.Tensor, cut: int) -> np.ndarray:
    """The middle slice across an axis, the patient's right on the viewer's left."""
    return np.asarray(scan[0].float().select(cut, scan.shape[1 + cut] // 2)).T[:, ::-1]
