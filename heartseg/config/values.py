"""What a person may set: a value of the kind that it replaces, and one that can be."""

from __future__ import annotations

import math
from typing import Any

import torch

from heartseg.errors import InputError

POSITIVE = {
    *("epochs", "batch_size", "accumulation", "patches_per_case", "slices_per_frame", "learning_rate", "clipping"),
    *("cycles", "val_interval", "patience", "prefetch", "batch_windows", "batch_slices", "validation_share"),
}
SHARES = {"label_smoothing", "foreground_share", "validation_share", "averaged_share", "cache_rate", "overlap"}
EXPRESSION = "$@%"  # so begins what MONAI evaluates; it is not judged
TEXTS_SHOWN = {"device": "cpu"}
LIMIT = "max_minutes"
PROBABILITY = "_probability"  # how the names of probabilities end
TEXTS = {"dataset_dir", "output_dir", "split_file", "weights", "initial_weights", "device"}  # paths and the like
NULLABLE = {"nominal_spacing", "surroundings", "spike_threshold"}  # beside ids that are null in the YAML


def check_kind(name: str, old: Any, value: Any) -> None:
    """Refuse a value of another kind than the one it replaces; expressions are not judged.

    Raises InputError, a line that names the id and shows a value that would do.
    """
    if isinstance(value, str) and value[:1] in EXPRESSION:
        return
    if name in TEXTS and not isinstance(value, str) and (value is not None or old is not None):
        raise InputError(f"--set {name}: {value!r} is not text, as in {name}={TEXTS_SHOWN.get(name, 'some/path')}")
    if name == LIMIT and value is not None and (not _is_number(value) or value <= 0 or not math.isfinite(value)):
        raise InputError(f"--set {name}: {value!r} is not a number of minutes, as in {name}=30")
    if old is None or (isinstance(old, str) and old[:1] in EXPRESSION):
        return
    number = _is_number(old)
    numbers = isinstance(old, list) and bool(old) and all(map(_is_number, old))
    whole = numbers and all(isinstance(item, int) for item in old)
    wanted = None
    if value is None:
        wanted = "a value" if (number or numbers) and name not in NULLABLE else None
    elif isinstance(old, bool):
        wanted = None if isinstance(value, bool) else "true or false"
    elif number and not _is_number(value):
        wanted = "a number"
    elif isinstance(old, int) and not isinstance(value, int):
        wanted = "a whole number"
    elif number:
        wanted = _possible(name, value)
    elif numbers:
        fits = isinstance(value, list) and len(value) == len(old)
        fits = fits and all(_is_number(item) and 0 < item < math.inf for item in value)
        fits = fits and not (whole and any(item != int(item) for item in value))
        wanted = None if fits else f"a list of {len(old)} positive {'whole ' if whole else ''}numbers"
    if wanted:
        raise InputError(f"--set {name}: {value!r} is not {wanted}, as in {name}={old}")


def check_values(**values: Any) -> None:
    """Refuse values that no run can have; for ``initialize``, before anything is built.

    Args:
        values: by their ids. A ``device`` must be there and ready; of the others numbers are judged, by
            `POSITIVE` and `SHARES`.

    Raises InputError, a line that names the id.
    """
    for name, value in values.items():
        if name == "device":
            _check_device(value)
        elif isinstance(value, int | float) and (wanted := _possible(name, value)):
            raise InputError(f"{name}: {value!r} is not {wanted}; give one")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _possible(name: str, value: float) -> str | None:
    """What a number of this name has to be; None where it is."""
    if not math.isfinite(value):
        return "a finite number"
    if value < 0 or (value == 0 and name in POSITIVE):
        return "a positive number"
    if value > 1 and (name in SHARES or name.endswith(PROBABILITY)):
        return "a share from 0 to 1"
    return None


def _check_device(device: Any) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"device: {device} cannot be used here ({reason}); give cpu, or leave it out") from error
