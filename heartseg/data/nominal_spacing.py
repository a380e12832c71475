"""Headers that say nothing of a voxel's true size."""

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
    """Whether a header was made up: its axes are just ``nominal`` mm long, straight, and begin at 0, 0, 0.

    Public copies of ACDC lost the voxels' size and position and carry such headers. What is measured with them in
    mL, g and mm is nominal; Dice and ejection fraction, which are ratios, are not touched. A file with an
    ``Info.cfg`` beside it comes from the original archive, whose headers are true.

    Args:
        affine: ``[4, 4]`` in mm, tensor or array.
        nominal: mm per axis; None: every header is believed.
        file: the scan, where it is one.

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
