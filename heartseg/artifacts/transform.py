"""Base classes of the artifacts' random transforms and of their dictionary forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, convert_to_tensor

from heartseg.artifacts.tensors import spacing_of
from heartseg.errors import InputError
from heartseg.numbers import is_number

Range = float | Sequence[float]


class RandArtifact(RandomizableTransform):
    """Transform that draws the physical parameters of an artifact and passes them to its function.

    Images are channel-first, ``[C, *spatial]`` with 2 or 3 spatial axes; all channels get the same artifact.
    Metadata and type are kept. A subclass defines ``function``, `sample` and ``severities``: its strengths at mild,
    moderate and severe. A severity given as a single number sets the first of them.
    """

    backend = [TransformBackends.TORCH]
    function: ClassVar[Callable[..., torch.Tensor]]
    severities: ClassVar[Mapping[str, tuple[float, float, float]]]

    def __init__(self, prob: float = 0.1) -> None:
        if not is_number(prob) or not 0 <= prob <= 1:
            raise InputError(f"{type(self).__name__}: prob {prob!r} is not a probability; give a number from 0 to 1")
        super().__init__(prob)
        self.parameters: dict[str, Any] = {}

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Draw, from ``R``, the function's arguments for an image of this spatial shape and spacing in mm."""
        raise NotImplementedError

    def randomize(self, data: torch.Tensor) -> None:
        """Draw whether to change this image ``[C, *spatial]``, and the parameters."""
        super().randomize(None)
        if self._do_transform:
            dims = data.ndim - 1
            self.parameters = self.sample(data.shape[1:], spacing_of(data, dims))

    def __call__(self, img: Any, randomize: bool = True) -> torch.Tensor:
        """Return an image ``[C, *spatial]`` with the artifact, or unchanged, by chance."""
        image = as_image(img)
        if randomize:
            self.randomize(image)
        if self._do_transform:
            image = self.apply(image)
        return convert_to_tensor(image, track_meta=get_track_meta())

    def apply(self, image: torch.Tensor) -> torch.Tensor:
        """Apply the artifact as last drawn. Raises RuntimeError if none was, as MONAI's transforms do."""
        if not self.parameters:
            raise RuntimeError("please call the `randomize()` function first.")
        return type(self).function(image, **self.parameters, spatial_dims=image.ndim - 1)

    def strength_range(self, name: str, value: Range) -> tuple[float, float]:
        """Return a strength as (low, high); a single number is the upper end. Raises InputError for anything else."""
        pair: Any = value if isinstance(value, Sequence | np.ndarray) else (0, value)
        if len(pair) != 2 or not all(map(is_number, pair)) or not 0 <= pair[0] <= pair[1] < math.inf:
            raise InputError(
                f"{type(self).__name__}: {name} {value!r} is not a strength; give a number of 0 or more, or [low, high]"
            )
        return float(pair[0]), float(pair[1])

    def count_range(self, name: str, value: int | Sequence[int]) -> tuple[int, int]:
        """Return a count as (low, high); a single number is both. Raises InputError for anything else."""
        pair: Any = value if isinstance(value, Sequence | np.ndarray) else (value, value)
        if len(pair) != 2 or not all(is_number(v, whole=True) for v in pair) or not 1 <= pair[0] <= pair[1]:
            raise InputError(
                f"{type(self).__name__}: {name} {value!r} is not a count; "
                "give a whole number of 1 or more, or [low, high]"
            )
        return int(pair[0]), int(pair[1])

    def whole_number(self, name: str, value: int) -> int:
        """Return a count that is not drawn. Raises InputError for anything else, also a pair."""
        if not is_number(value, whole=True) or value < 1:
            raise InputError(
                f"{type(self).__name__}: {name} {value!r} is not a count; give a whole number of 1 or more"
            )
        return int(value)

    def spatial_axis(self, name: str, value: int | None) -> int | None:
        """Return a spatial axis of a volume, or None. Raises InputError for anything else."""
        if value is not None and (not is_number(value, whole=True) or not -3 <= value < 3):
            raise InputError(f"{type(self).__name__}: {name} {value!r} is not a spatial axis; give 0, 1, 2 or None")
        return value

    def uniform(self, bounds: tuple[float, float]) -> float:
        """Draw a number between the bounds."""
        return float(self.R.uniform(*bounds))

    def seed(self) -> int:
        """Draw a seed for a function that draws random numbers itself."""
        return int(self.R.randint(2**31 - 1))


class RandArtifactd(RandomizableTransform, MapTransform):
    """Dictionary form of an artifact's transform: the same artifact on all ``keys``. Labels are not changed.

    Args:
        keys: images ``[C, *spatial]`` of one scan, of equal shape.
        prob: probability of the artifact.
        allow_missing_keys: ignore keys that are missing.
        strengths: arguments of the array form.
    """

    backend = [TransformBackends.TORCH]
    array: ClassVar[type[RandArtifact]]

    def __init__(
        self, keys: KeysCollection, prob: float = 0.1, allow_missing_keys: bool = False, **strengths: Any
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform = self.array(prob=prob, **strengths)
        RandomizableTransform.__init__(self, prob)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandArtifactd:
        """Seed this transform and its array form."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the dictionary with all of its images changed in the same way, or unchanged, by chance."""
        result = dict(data)
        keys = list(self.key_iterator(result))
        images = [as_image(result[key]) for key in keys]
        for key, image in zip(keys, images, strict=True):
            if image.shape[1:] != images[0].shape[1:]:
                raise InputError(
                    f"{key}: shape {tuple(image.shape)} differs from {tuple(images[0].shape)} of {keys[0]}; "
                    "images of one scan share their grid; use a separate transform for the others"
                )
        if images:
            self.transform.randomize(images[0])
        for key, image in zip(keys, images, strict=True):
            result[key] = self.transform(image, randomize=False)
        return result


def as_image(img: Any) -> torch.Tensor:
    """Return an array or tensor as a floating-point tensor with its metadata."""
    image: torch.Tensor = img if isinstance(img, torch.Tensor) else convert_to_tensor(img, track_meta=get_track_meta())
    # A batch must not mix types, whichever of its images get an artifact. The artifact's function refuses masks.
    return image if image.is_floating_point() or image.dtype == torch.bool or image.is_complex() else image.float()


def direction(
    random: np.random.RandomState, dims: int, only: int | None = None, never: int | None = None
) -> np.ndarray:
    """Draw a unit vector: along the axis ``only`` if given, else with no component along the axis ``never``."""
    if only is not None:
        return np.eye(dims)[only] * random.choice([-1, 1])
    vector = random.normal(size=dims)
    if never is not None:
        vector[never] = 0
    return vector / np.linalg.norm(vector)
