"""Check values of knobs: of the same kind as the default, and within the limits of its comment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from heartseg.errors import InputError, first_line
from heartseg.numbers import is_number

# These names mean the same in every bundle.
PATHS = ("dataset_dir", "output_dir", "split_file", "weights", "initial_weights")
MINUTES = "max_minutes"
PROBABILITY = "_probability"  # names that end so hold one
EXPRESSION = "$@%"  # what MONAI evaluates begins so, and is not checked


class Limit(NamedTuple):
    """Limit in a knob's comment: ``[> 0]``, ``[0, 1]`` (both included), ``[null]`` (may be null), or several."""

    positive: bool = False
    share: bool = False
    null: bool = False

    @classmethod
    def parse(cls, text: str, where: str) -> Limit | None:
        """Return the limit of a comment's text between brackets; None for another text, such as a citation.

        Raises InputError for what looks like a limit and is not one.
        """
        words = {">0": "positive", "0,1": "share", "null": "null"}
        parts = ["".join(part.split()) for part in text.split(" or ")]
        if unknown := [part for part in parts if part not in words]:
            if len(unknown) == len(parts) and not set("<>=,") & set(text):
                return None
            raise InputError(f"{where}: [{unknown[0]}] is not a limit; write [> 0], [0, 1] or [null]")
        return cls(**{words[part]: True for part in parts})


Limits = Mapping[str, Limit]


def check_kind(name: str, old: Any, value: Any, limits: Limits, where: str) -> None:
    """Refuse a value of another kind than the one it replaces; expressions are not checked.

    Raises InputError, one line that begins with ``where`` and shows a value that is accepted.
    """
    if _is_expression(value):
        return
    if name in (*PATHS, "device") and not isinstance(value, str) and (value is not None or old is not None):
        example = "cpu" if name == "device" else "some/path"
        raise InputError(f"{where}: {value!r} is not text, as in {name}={example}")
    if name == MINUTES and value is not None and (not is_number(value) or value <= 0 or not math.isfinite(value)):
        raise InputError(f"{where}: {value!r} is not a number of minutes, as in {name}=30")
    if old is None or _is_expression(old):
        return
    if fault := _fault(name, old, value, limits):
        shown = "null" if value is None else repr(value)
        raise InputError(f"{where}: {shown} is not {fault}, as in {name}={old}")


def check_number(name: str, value: Any, limits: Limits) -> str | None:
    """Return what the limit of a number demands; None if it is kept, and for anything that is not a number."""
    if not is_number(value):
        return None
    limit = limits.get(name, Limit())
    if limit.positive and not 0 < value < math.inf:
        return "a positive number"
    if (limit.share or name.endswith(PROBABILITY)) and not 0 <= value <= 1:
        return "a share from 0 to 1"
    return None


def check_device(device: Any) -> None:
    """Raise InputError for a device that torch does not know, or that is not there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = first_line(error).rstrip(".")
        raise InputError(f"device: {device} cannot be used here ({reason}); use cpu, or leave it out") from error


def _fault(name: str, old: Any, value: Any, limits: Limits) -> str | None:
    numbers = isinstance(old, list) and bool(old) and all(map(is_number, old))
    if isinstance(old, Mapping):
        return _fault_of_mapping(old, value)
    if value is None:
        required = (is_number(old) or numbers) and not limits.get(name, Limit()).null
        return ("a number" if is_number(old) else "a list") if required else None
    if isinstance(old, bool):
        return None if isinstance(value, bool) else "true or false"
    if is_number(old):
        if not is_number(value):
            return _number_in_yaml(value)
        if isinstance(old, int) and not isinstance(value, int):
            return "a whole number"
        if fault := check_number(name, value, limits):
            return fault
        if not math.isfinite(value) and math.isfinite(old):
            return "a finite number"
        return "0 or a positive number" if value < 0 <= old else None  # a sign is changed by mistake only
    if not numbers:
        return None
    whole = all(isinstance(item, int) for item in old)
    fits = isinstance(value, list) and len(value) == len(old)
    fits = fits and all(is_number(item) and 0 < item < math.inf for item in value)
    fits = fits and not (whole and any(item != int(item) for item in value))
    return None if fits else f"a list of {len(old)} positive {'whole ' if whole else ''}numbers"


def _fault_of_mapping(old: Mapping[str, Any], value: Any) -> str | None:
    if not old or not all(map(is_number, old.values())):  # such as a transform, which null may switch off
        return None if value is None or isinstance(value, Mapping) else "a mapping"
    whole = all(is_number(number, whole=True) for number in old.values())
    fits = isinstance(value, Mapping) and bool(value) and all(isinstance(name, str) for name in value)
    fits = fits and all(is_number(number, whole) for number in value.values())
    return None if fits else f"a mapping of names to {'whole ' if whole else ''}numbers"


def _number_in_yaml(value: Any) -> str:
    """Return ``a number``, with the spelling that YAML reads as one: YAML 1.1 takes 1e-3, without a point, for text."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        number = math.nan
    return f"a number to YAML (write {number})" if math.isfinite(number) else "a number"


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value[:1] in tuple(EXPRESSION)
