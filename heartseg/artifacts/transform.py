"""The common form of the artifacts' random transforms, and their dictionary forms."""

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

Range = float | Sequence[float]


class RandArtifact(RandomizableTransform):
    """Samples the physical parameters of an artifact and hands them to its function.

    Images are channel-first, ``[C, *spatial]`` with 2 or 3 spatial axes; all channels get the same artifact.
    Metadata and type stay. A subclass has ``function``, `sample` and ``severities``: its strengths at mild,
    moderate and severe, the first being the one that a single number sets.
    """

    backend = [TransformBackends.TORCH]
    function: ClassVar[Callable[..., torch.Tensor]]
    severities: ClassVar[Mapping[str, tuple[float, float, float]]]

    def __init__(self, prob: float = 0.1) -> None:
        if isinstance(prob, bool) or not isinstance(prob, int | float) or not 0 <= prob <= 1:
            raise InputError(f"{type(self).__name__}: prob {prob!r} is no probability; give a number from 0 to 1")
        super().__init__(prob)
        self.parameters: dict[str, Any] = {}

    def sample(self, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
        """Arguments of the function for an image of this spatial shape and spacing in mm, drawn from ``R``."""
        raise NotImplementedError

    def randomize(self, data: torch.Tensor) -> None:
        """Decide whether to act on this image ``[C, *spatial]``, and with which parameters."""
        super().randomize(None)
        if self._do_transform:
            dims = data.ndim - 1
            self.parameters = self.sample(data.shape[1:], spacing_of(data, dims))

    def __call__(self, img: Any, randomize: bool = True) -> torch.Tensor:
        """An image ``[C, *spatial]`` with the artifact, or, by chance, as it is."""
        image: torch.Tensor = convert_to_tensor(img, track_meta=get_track_meta())
        if randomize:
            self.randomize(image)
        if not self._do_transform:
            return image
        return type(self).function(image, **self.parameters, spatial_dims=image.ndim - 1)

    def range(self, name: str, value: Range) -> tuple[float, float]:
        """A strength as (low, high): a number means from 0 to it. Raises InputError for anything else."""
        pair = value if isinstance(value, Sequence) else (0, value)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in pair)
        if len(pair) != 2 or not numbers or not 0 <= pair[0] <= pair[1] < math.inf:
            raise InputError(
                f"{type(self).__name__}: {name} {value!r} is no strength; give a number of 0 or more, or [low, high]"
            )
        return float(pair[0]), float(pair[1])

    def whole(self, name: str, value: int | Sequence[int]) -> tuple[int, int]:
        """A count as (low, high): a number means exactly it. Raises InputError for what is no count."""
        pair = value if isinstance(value, Sequence) else (value, value)
        numbers = all(isinstance(v, int) and not isinstance(v, bool) for v in pair)
        if len(pair) != 2 or not numbers or not 1 <= pair[0] <= pair[1]:
            raise InputError(
                f"{type(self).__name__}: {name} {value!r} is no count; give a whole number of 1 or more, or [low, high]"
            )
        return pair[0], pair[1]

    def single(self, name: str, value: int) -> int:
        """A count that is not drawn. Raises InputError for what is no count, and for a pair."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{type(self).__name__}: {name} {value!r} is no count; give a whole number of 1 or more")
        return value

    def uniform(self, bounds: tuple[float, float]) -> float:
        """A number between the bounds."""
        return float(self.R.uniform(*bounds))

    def seed(self) -> int:
        """A seed for a function that needs more random numbers than parameters."""
        return int(self.R.randint(2**31 - 1))


class RandArtifactd(RandomizableTransform, MapTransform):
    """An artifact's transform on the images of a dictionary, the same for all ``keys``. Labels are left alone.

    Args:
        keys: images ``[C, *spatial]`` of one scan, of equal shape.
        prob: how often.
        allow_missing_keys: go on where a key is not there.
        strengths: what the array form takes.
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
        """Seed this transform."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with its images changed, all in the same way, or, by chance, as they are."""
        result = dict(data)
        keys = list(self.key_iterator(result))
        images = [convert_to_tensor(result[key], track_meta=get_track_meta()) for key in keys]
        for key, image in zip(keys, images, strict=True):
            if image.shape[1:] != images[0].shape[1:]:
                raise InputError(
                    f"{key}: shape {tuple(image.shape)} differs from {tuple(images[0].shape)} of {keys[0]}; "
                    "images of one scan share their grid, others need a transform of their own"
                )
        if images:
            self.transform.randomize(images[0])
        for key, image in zip(keys, images, strict=True):
            result[key] = self.transform(image, randomize=False)
        return result


def direction(
    random: np.random.RandomState, dims: int, only: int | None = None, never: int | None = None
) -> np.ndarray:
    """A random unit vector; along ``only`` one axis, or with nothing along the axis ``never``."""
    if only is not None:
        return np.eye(dims)[only] * random.choice([-1, 1])
    vector = random.normal(size=dims)
    if never is not None:
        vector[never] = 0
    return vector / np.linalg.norm(vector)
