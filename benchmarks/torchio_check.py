"""Independent check of robustness: a bundle under TorchIO's artifacts instead of heartseg's.

    python benchmarks/torchio_check.py ventricles --data DATA --out check [--split val] [--weights FILE]

The strengths are those of the system that the ventricles replace: noise of standard deviation 0.03, motion of up to
10 degrees and 5 voxels of 1.5625 mm, a bias field of coefficients up to 0.3, five spikes of intensity 0.8 to 1.2, each
on intensities scaled to 0..1. A stack's slices are acquired one at a time, so each gets a separate artifact, as a 2D
image. `magnitude_spike` is not TorchIO's: it adds the same spikes as complex points, and keeps the magnitude.
`evaluation_results.json` and `.csv` in OUT have the format of `heartseg robustness`. `pip install torchio` first.
"""

from __future__ import annotations

import argparse
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchio
from monai.data import MetaTensor

from heartseg.artifacts import CLEAN, Condition
from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.config.config_errors import readable
from heartseg.data.stacks import stack_axis


class MotionInPlane(torchio.RandomMotion):
    """TorchIO's motion of a slice ``[1, 1, x, y]``, restricted to rotation about its first axis and shifts in plane.

    TorchIO's phase-encoding axis is the last one, which is an axis of the slice.
    """

    def get_params(self, *arguments: Any, **settings: Any) -> Any:
        """Return times, angles about each axis and shifts along each axis of every move."""
        times, degrees, translation = super().get_params(*arguments, **settings)
        degrees[:, 1:] = 0
        translation[:, 0] = 0
        return times, degrees, translation


class MagnitudeSpikes:
    """Spikes as in a scanner: complex points of a slice's k-space, and the magnitude of its reconstruction.

    TorchIO, like heartseg, takes the real part instead, which adds a plain wave to the image.
    """

    def __init__(self, num_spikes: int, intensity: tuple[float, float]) -> None:
        self.num_spikes = num_spikes
        self.intensity = intensity

    def __call__(self, image: torchio.ScalarImage) -> torchio.ScalarImage:
        spectrum = torch.fft.fft2(image.data)
        height = spectrum[..., 0, 0].abs()
        for _ in range(self.num_spikes):
            place = [int(torch.randint(size, ())) for size in spectrum.shape[-2:]]
            strength = self.intensity[0] + (self.intensity[1] - self.intensity[0]) * torch.rand(())
            spectrum[..., place[0], place[1]] += height * strength * torch.exp(2j * torch.pi * torch.rand(()))
        image.set_data(torch.fft.ifft2(spectrum).abs())
        return image


ARTIFACTS: dict[str, tuple[dict[str, Any], Any]] = {
    "noise": ({"mean": 0.0, "std": (0.03, 0.03)}, torchio.RandomNoise),
    "motion": ({"degrees": 10, "translation": 5 * 1.5625, "num_transforms": 2}, MotionInPlane),
    "bias_field": ({"coefficients": 0.3}, torchio.RandomBiasField),
    "spike": ({"num_spikes": (5, 5), "intensity": (0.8, 1.2)}, torchio.RandomSpike),
    "magnitude_spike": ({"num_spikes": 5, "intensity": (0.8, 1.2)}, MagnitudeSpikes),
}


class Peer:
    """TorchIO transform with heartseg's interface: an image ``[1, x, y, z]`` in and out, and a separate seed."""

    def __init__(self, transform: torchio.Transform) -> None:
        self.transform = transform
        self.seed = 0

    def set_random_state(self, seed: int) -> Peer:
        """Seed the next call."""
        self.seed = seed
        return self

    def __call__(self, image: MetaTensor) -> MetaTensor:
        """Return the image with the artifact, applied to each slice of a stack separately."""
        plain = image.as_tensor()
        low, high = plain.min(), plain.max()
        affine = image.affine.numpy(force=True)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        through = stack_axis(spacing.tolist())
        with torch.random.fork_rng(devices=[]):  # TorchIO draws from the global state
            torch.manual_seed(self.seed)
            unit = (plain - low) / (high - low)
            if through is None:
                result = self._one(unit, affine)
            else:
                parts = unit.movedim(1 + through, 1).split(1, dim=1)
                within = np.diag([spacing[through], *np.delete(spacing, through), 1.0])
                result = torch.cat([self._one(part, within) for part in parts], dim=1).movedim(1, 1 + through)
        return MetaTensor(result * (high - low) + low, meta=image.meta, applied_operations=image.applied_operations)

    def _one(self, part: torch.Tensor, affine: np.ndarray) -> torch.Tensor:
        return self.transform(torchio.ScalarImage(tensor=part.contiguous(), affine=affine)).data.float()


def main() -> None:
    """Evaluate clean scans and each artifact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True, help="labelled cases, as for heartseg robustness")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", default="val", help="val, train or all")
    parser.add_argument("--weights", type=Path, help="a state dict instead of the shipped one")
    arguments = parser.parse_args()
    folder = find_bundle(arguments.bundle)
    paths = {"bundle_root": str(folder), "dataset_dir": arguments.data, "output_dir": arguments.out}
    if arguments.weights:
        paths["weights"] = arguments.weights
    paths = {name: str(Path(path).resolve()) for name, path in paths.items()}
    config = compose(
        folder,
        config_files(folder, "inference", ["robustness"]),
        {"split": arguments.split, "artifacts": list(ARTIFACTS)},
        paths,
    )
    conditions = [CLEAN]
    for name, (strengths, kind) in ARTIFACTS.items():
        conditions.append(Condition(name, "torchio", {}, strengths, Peer(kind(**strengths))))  # type: ignore[arg-type]
    config["conditions"] = conditions
    config.parse(True)
    with chdir(folder), readable():
        config.get_parsed_content("evaluator").run()


if __name__ == "__main__":
    main()
