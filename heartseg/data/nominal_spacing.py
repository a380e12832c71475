"""Headers whose spacing is nominal, not the true voxel size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heartseg.data.acdc import INFO
from heartseg.data.nifti import GRID_TOLERANCE
from heartseg.errors import InputError


def is_nominal(affine: Any, nominal: Sequence[float] | None, file: str | os.PathLike[str] | None = None) -> bool:
    """Return whether an affine is made up: exactly ``nominal`` mm per axis, not rotated, with its origin at 0, 0, 0.

    Public copies of ACDC have lost the voxels' size and position and have such headers. Measurements from them in
    mL, g and mm are nominal; Dice and ejection fraction, which are ratios, are not affected. A file with an
    ``Info.cfg`` in its folder is from the original archive, whose headers are true.

    Args:
        affine: ``[4, 4]`` in mm, tensor or array.
        nominal: mm per axis; None: every header is trusted.
        file: path of the scan, if it has one.

    Raises:
        InputError: ``nominal`` is not three positive numbers.
    """
    if nominal is None:
        return False
    try:
        steps = np.array([float(step) for step in nominal])
    except (TypeError, ValueError):
        steps = np.zeros(0)
    if steps.shape != (3,) or not all(0 < step < np.inf for step in steps):
        raise InputError(f"nominal_spacing: {nominal!r} is not three positive numbers; give mm per axis, or null")
    if file is not None and os.path.isfile(file) and Path(file).with_name(INFO).is_file():
        return False
    return bool(np.allclose(np.asarray(affine), np.diag([*steps, 1]), rtol=0, atol=GRID_TOLERANCE))
