"""Clinical numbers of masks: volumes, what a ventricle ejects, the mass of its wall."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch

from heartseg.errors import InputError
from heartseg.metrics.masks import as_arrays, check_boolean, check_spacing, count

MYOCARDIAL_DENSITY = 1.05  # g/mL, as cardiac MR reports it (SCMR: Schulz-Menger et al., 2020)


def volume_ml(mask: torch.Tensor | np.ndarray, spacing: Sequence[float]) -> float:
    """Volume of a boolean mask ``[x, y, z]`` in mL: its voxels times their size, spacing in mm per axis.

    Raises InputError for a mask that is not boolean or not 3D, or a spacing that is not three positive numbers.
    """
    array, _ = as_arrays(mask, mask)
    check_boolean(mask)
    if array.ndim != 3:
        raise InputError(f"mask: {array.ndim} axes enclose no volume; give [x, y, z] without channel or batch")
    return count(array) * float(np.prod(check_spacing(spacing, 3))) / 1000


def stroke_volume_ml(edv: float, esv: float) -> float:
    """Stroke volume in mL: the volume of a ventricle's cavity at end-diastole (edv) less that at end-systole (esv).

    Negative where esv is the larger: the frames are swapped, or a mask is wrong. Raises InputError for volumes
    that are negative or not finite.
    """
    return _volume(edv, "EDV") - _volume(esv, "ESV")


def ejection_fraction(edv: float, esv: float) -> float | None:
    """Ejection fraction in percent: the stroke volume over the end-diastolic volume, both volumes in mL.

    None for an end-diastolic volume of 0: nothing was found that could eject. Raises as `stroke_volume_ml`.
    """
    stroke = stroke_volume_ml(edv, esv)
    return 100 * stroke / edv if edv else None


def myocardial_mass_g(volume_ml: float) -> float:
    """Mass in g of so many mL of myocardium, at `MYOCARDIAL_DENSITY`. Raises InputError for a negative volume."""
    return _volume(volume_ml, "myocardium") * MYOCARDIAL_DENSITY


def ventricle_function(
    end_diastole: torch.Tensor | np.ndarray, end_systole: torch.Tensor | np.ndarray, spacing: Sequence[float]
) -> dict[str, float | None]:
    """What a ventricle does between two frames: its cavity's masks ``[x, y, z]`` of one patient, spacing in mm.

    Returns ``edv_ml``, ``esv_ml``, ``stroke_volume_ml`` and ``ejection_fraction`` in percent (None for an empty
    end-diastole). Raises as `volume_ml`.
    """
    edv, esv = volume_ml(end_diastole, spacing), volume_ml(end_systole, spacing)
    return {
        "edv_ml": edv,
        "esv_ml": esv,
        "stroke_volume_ml": stroke_volume_ml(edv, esv),
        "ejection_fraction": ejection_fraction(edv, esv),
    }


def _volume(value: Any, name: str) -> float:
    number = isinstance(value, Real)
    if not number or not 0 <= value < float("inf"):
        raise InputError(f"{name}: {value} mL is no volume; give a number from 0 on")
    return float(value)
