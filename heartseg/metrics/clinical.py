"""Clinical measures of masks: volumes, stroke volume, ejection fraction and myocardial mass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from heartseg.errors import InputError
from heartseg.metrics.masks import as_arrays, check_boolean, count
from heartseg.numbers import check_spacing, is_number

MYOCARDIAL_DENSITY = 1.05  # g/mL, the value used in cardiac MR (SCMR: Schulz-Menger et al., 2020)


def volume_ml(mask: torch.Tensor | np.ndarray, spacing: Sequence[float]) -> float:
    """Return the volume of a boolean mask ``[x, y, z]`` in mL; spacing in mm per axis.

    Raises InputError for a mask that is not boolean or not 3D, or a spacing that is not three positive numbers.
    """
    array, _ = as_arrays(mask, mask)
    check_boolean(mask)
    if array.ndim != 3:
        raise InputError(f"mask: {array.ndim} axes have no volume; give [x, y, z] without channel or batch")
    return count(array) * float(np.prod(check_spacing(spacing, 3))) / 1000


def stroke_volume_ml(edv: float, esv: float) -> float:
    """Return the stroke volume in mL: a ventricle's cavity at end-diastole (edv) minus that at end-systole (esv).

    It is negative if esv is larger, that is if the frames are swapped or a mask is wrong. Raises InputError for
    volumes that are negative or not finite.
    """
    return _volume(edv, "EDV") - _volume(esv, "ESV")


def ejection_fraction(edv: float, esv: float) -> float | None:
    """Return the ejection fraction in percent: stroke volume over end-diastolic volume, from volumes in mL.

    It is None for an end-diastolic volume of 0, that is if no cavity was found. Raises as `stroke_volume_ml`.
    """
    stroke = stroke_volume_ml(edv, esv)
    return 100 * stroke / edv if edv else None


def myocardial_mass_g(volume_ml: float) -> float:
    """Return the mass in g of a volume of myocardium. Raises InputError for a volume that is negative or not finite."""
    return _volume(volume_ml, "myocardium") * MYOCARDIAL_DENSITY


def ventricle_function(
    end_diastole: torch.Tensor | np.ndarray, end_systole: torch.Tensor | np.ndarray, spacing: Sequence[float]
) -> dict[str, float | None]:
    """Return a ventricle's function from masks ``[x, y, z]`` of its cavity at end-diastole and end-systole.

    The spacing is in mm. Returns ``edv_ml``, ``esv_ml``, ``stroke_volume_ml`` and ``ejection_fraction`` in percent
    (None if the end-diastolic mask is empty). Raises as `volume_ml`.
    """
    edv, esv = volume_ml(end_diastole, spacing), volume_ml(end_systole, spacing)
    return {
        "edv_ml": edv,
        "esv_ml": esv,
        "stroke_volume_ml": stroke_volume_ml(edv, esv),
        "ejection_fraction": ejection_fraction(edv, esv),
    }


def _volume(value: Any, name: str) -> float:
    if not is_number(value) or not 0 <= value < float("inf"):
        raise InputError(f"{name}: {value} mL is not a volume; give a number of 0 or more")
    return float(value)
