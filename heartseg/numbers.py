"""Checks of numbers that users give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from heartseg.errors import InputError


def is_number(value: Any, whole: bool = False) -> bool:
    """Return whether a value is a (whole) number, of Python or NumPy, and not a bool."""
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)


def check_spacing(spacing: Sequence[float], axes: int) -> tuple[float, ...]:
    """Return a spacing in mm as floats. Raises InputError unless it is ``axes`` positive finite numbers."""
    try:
        steps = tuple(float(step) for step in spacing)
    except (TypeError, ValueError):
        raise InputError(f"spacing: {spacing!r} is not {axes} positive numbers; give mm per axis") from None
    if len(steps) != axes or not all(0 < step < math.inf for step in steps):
        given = ", ".join(f"{step:g}" for step in steps)
        raise InputError(f"spacing: ({given}) is not {axes} positive numbers; give mm per axis")
    return steps
