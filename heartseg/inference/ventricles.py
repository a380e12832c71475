"""The ventricles among a bundle's classes, for numbers of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heartseg.data.nominal_spacing import is_nominal


@dataclass(frozen=True)
class Ventricles:
    """Summary of patients, a bundle's ``patients``: ``heartseg segment`` reports ejection fractions and mass from it.

    Args:
        classes: the bundle's classes by the names ``left`` and ``right``, the cavities, and ``myocardium``.
        nominal_spacing: mm per axis of headers that are made up (`heartseg.data.nominal_spacing.is_nominal`); None
            believes every header.
    """

    classes: Mapping[str, str]
    nominal_spacing: Sequence[float] | None = None

    def is_nominal(self, affine: Any, file: str | None) -> bool:
        """Return whether volumes by this affine (4x4) are nominal, since its header is made up."""
        return is_nominal(affine, self.nominal_spacing, file)
