"""Images for the tests of the artifacts, and each artifact with example parameters."""

import math
from collections.abc import Callable

import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from heartseg import artifacts
from heartseg.artifacts.transform import RandArtifact

TURNED = torch.tensor(  # 2, 1.5 and 4 mm; no axis of the voxels is one of the world's
    [[0.0, 0.9, -3.2, 7.0], [2.0, 0.0, 0.0, -5.0], [0.0, 1.2, 2.4, 11.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
)
SPACING = (2.0, 1.5, 4.0)


def texture(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return random numbers between 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


def scan(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> MetaTensor:
    """Return the same as a loaded scan, with affine, file name and an applied operation."""
    image = MetaTensor(texture(*shape, seed=seed, dtype=dtype), affine=TURNED, meta={"filename_or_obj": "a.nii.gz"})
    image.push_applied_operation({"class": "Spacingd", "orig_size": (5, 6, 7)})
    return image


def blobs(shape, spacing, rotation=(0.0, 0.0, 0.0), shift=0.0) -> torch.Tensor:
    """Return Gaussian blobs around a volume's centre, rotated by a vector in degrees and shifted in mm, as float64."""
    axes = [(torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    turn = torch.from_numpy(Rotation.from_rotvec(rotation, degrees=True).as_matrix())
    image = torch.zeros(shape, dtype=torch.float64)
    for height, centre, width in [(1.0, (9.0, -6.0, 4.0), 5.0), (0.7, (-10.0, 2.0, -7.0), 6.0), (0.5, (3, 11, 2), 5.5)]:
        now = turn @ torch.tensor(centre, dtype=torch.float64) + torch.as_tensor(shift, dtype=torch.float64)
        image += height * torch.exp(-(places - now).square().sum(-1) / (2 * width**2))
    return image


def k_space(image: torch.Tensor, dims: int) -> torch.Tensor:
    """Return the whole complex k-space, with its centre at n // 2 of each axis."""
    axes = tuple(range(-dims, 0))
    return torch.fft.fftshift(torch.fft.fftn(image.double(), dim=axes), dim=axes)


def reconstruct(spectrum: torch.Tensor, dims: int) -> torch.Tensor:
    """Return the real part of the image of a `k_space`."""
    axes = tuple(range(-dims, 0))
    return torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=axes), dim=axes).real


def _moved(image: torch.Tensor, dims: int, degrees: float) -> torch.Tensor:
    turns = [[degrees], [-degrees]] if dims == 2 else [[degrees, -degrees, degrees / 2], [0, degrees, 0]]
    shifts = [[degrees / 4, -degrees / 5, degrees / 3][:dims], [0.0] * dims]
    return artifacts.motion(image, turns, shifts, [0.3, 0.7], axis=1, spatial_dims=dims)


def _biased(image: torch.Tensor, dims: int, size: float) -> torch.Tensor:
    coefficients = size * (texture(*[3] * dims, seed=5, dtype=torch.float64) - 0.5)
    return artifacts.bias_field(image, coefficients, spatial_dims=dims)


def _spiked(image: torch.Tensor, dims: int, height: float) -> torch.Tensor:
    waves = [[1, -2, 0][:dims], [0, 1, -1][:dims]]
    return artifacts.spike(image, height, waves, spatial_dims=dims)


# Name: (image, spatial_dims, strength) -> image, and a visible strength. Strength 0 is the identity.
CALLS: dict[str, tuple[Callable[[torch.Tensor, int, float], torch.Tensor], float]] = {
    "noise": (lambda x, dims, s: artifacts.noise(x, s, seed=3, spatial_dims=dims), 0.1),
    "rician": (lambda x, dims, s: artifacts.rician(x, s, seed=3, spatial_dims=dims), 0.1),
    "motion": (_moved, 15.0),
    "ghosting": (lambda x, dims, s: artifacts.ghosting(x, s, 3, axis=-1, spatial_dims=dims), 0.6),
    "spike": (_spiked, 0.5),
    "bias_field": (_biased, 0.8),
    "slice_dropout": (lambda x, dims, s: artifacts.slice_dropout(x, [0], 1 - s, axis=1, spatial_dims=dims), 0.75),
    "blur": (lambda x, dims, s: artifacts.blur(x, s, spatial_dims=dims), 1.8),
    "gamma": (lambda x, dims, s: artifacts.gamma(x, s, spatial_dims=dims), math.log(1.5)),
}
NAMES = list(CALLS)
FIXED = [name for name in NAMES if name not in ("noise", "rician")]  # no random numbers


def act(name: str, image: torch.Tensor, dims: int = 3, strength: float | None = None) -> torch.Tensor:
    """Apply the artifact of this name, with the strength in `CALLS` or another."""
    call, shown = CALLS[name]
    return call(image, dims, shown if strength is None else strength)


class SeededImages(torch.utils.data.Dataset):
    """Images whose random state depends only on a seed and their index."""

    def __init__(self, transform: RandArtifact, seed: int, count: int = 6) -> None:
        self.transform, self.seed, self.count = transform, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        self.transform.set_random_state(seed=1000 * self.seed + index)
        return self.transform(texture(1, 6, 7, 8, seed=index))
