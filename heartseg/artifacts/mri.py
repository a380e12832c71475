"""One transform that applies any of the artifacts, for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from heartseg.artifacts.severity import check_names, find_artifact, make_transform
from heartseg.artifacts.transform import RandArtifact, RandArtifactd
from heartseg.errors import InputError
from heartseg.numbers import is_number

Which = Sequence[str] | Mapping[str, Mapping[str, Any] | None]


class RandMRIArtifacts(RandArtifact):
    """One artifact at a time, drawn uniformly, with a strength drawn from 0 to severe.

    Args:
        prob: probability that an image gets an artifact.
        artifacts: names, such as ``[motion, noise]``; or names with arguments of their transforms, such as
            ``{motion: {degrees: 15, moves: 3}, noise: {std: [0.01, 0.03]}}``. None means all.
        strength: largest strength, relative to severe. Strengths given in ``artifacts`` are not scaled.

    Raises InputError for an unknown artifact, an unknown argument, or a negative strength.
    """

    def __init__(self, prob: float = 0.3, artifacts: Which | None = None, strength: float = 1.0) -> None:
        super().__init__(prob)
        if not is_number(strength) or not 0 <= strength < float("inf"):
            raise InputError(f"RandMRIArtifacts: strength {strength!r} is not a strength; give 0 or more (1: severe)")
        chosen = check_names(artifacts, "RandMRIArtifacts: artifacts", Sequence | Mapping)
        settings = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen)
        self.transforms: list[RandArtifact] = []
        for name, own in settings.items():
            if not isinstance(own or {}, Mapping):
                raise InputError(
                    f"RandMRIArtifacts: {name} {own!r} is not a mapping; give settings such as {{std: 0.03}}"
                )
            severe = {key: strength * values[-1] for key, values in find_artifact(name).severities.items()}
            try:
                self.transforms.append(make_transform(name, {**severe, **(own or {})}))
            except InputError as error:
                raise InputError(f"{error} (RandMRIArtifacts: {name}, strength {strength})") from None
        self.drawn = self.transforms[0]

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandMRIArtifacts:
        """Seed this transform and those that it draws from."""
        super().set_random_state(seed, state)
        for transform in self.transforms:
            transform.set_random_state(state=self.R)
        return self

    def randomize(self, data: torch.Tensor) -> None:
        """Draw whether to change this image ``[C, *spatial]``, the artifact and its parameters."""
        self._do_transform = bool(self.R.rand() < self.prob)
        if self._do_transform:
            self.drawn = self.transforms[self.R.randint(len(self.transforms))]
            self.drawn.randomize(data)

    def apply(self, image: torch.Tensor) -> torch.Tensor:
        """Apply the artifact as last drawn."""
        return self.drawn.apply(image)


class RandMRIArtifactsd(RandArtifactd):
    """Dictionary form of `RandMRIArtifacts`: the same artifact on all keys."""

    array = RandMRIArtifacts
