"""What has changed since a run was begun, and whether it can go on with that."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from heartseg.errors import OtherRunError

Settings = Mapping[str, Mapping[str, Any]]
LONG = 60  # characters: what a value may take of a line


def changed(before: Settings, now: Settings, path: str | os.PathLike[str]) -> list[tuple[str, str, Any, Any]]:
    """Settings that differ, as (group, name, before, now), of the groups ``fixed``, ``schedule`` and ``free``.

    Raises OtherRunError, in one line, where one that is ``fixed`` differs in the run whose checkpoint is ``path``.
    """
    differences = []
    for group, values in now.items():
        old = before.get(group, {})
        for name in sorted({*values, *old}):
            if old.get(name) != values.get(name):
                differences.append((group, name, old.get(name), values.get(name)))
    fixed = [(name, *values) for group, name, *values in differences if group == "fixed"]
    if fixed:
        told = "; ".join(f"{name} was {shown(old, new)}" for name, old, new in fixed)
        raise OtherRunError(f"{path}: cannot go on with other settings: {told}; set it back, or name another folder")
    return differences


def say_changes(differences: Sequence[tuple[str, str, Any, Any]]) -> None:
    """A line for each changed setting that is taken."""
    for _, name, old, new in differences:
        print(f"{name}: was {shown(old, new)}, from here on", flush=True)


def shown(old: Any, new: Any) -> str:
    """``0.002, is 0.001 now``; of lists of cases only those that differ."""
    if _are_cases(old) and _are_cases(new):
        gone, come = ([item for item in a if item not in set(b)] for a, b in ((old, new), (new, old)))
        return f"with {_short(gone)}, is with {_short(come)} now"
    return f"{_short(old)}, is {_short(new)} now"


def plain(value: Any) -> Any:
    """The same in what can be compared and saved: numbers, text, None, lists and mappings."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, Sequence) else str(value)


def walk(schedule: LRScheduler, old: Mapping[str, Any], saved: Mapping[str, Any], epoch_length: int) -> None:
    """Bring a new schedule to where the old one was: after as many epochs, which may be longer or shorter now."""
    walked = _walked(old)
    if walked > saved["epoch"]:  # a step of it is one of the optimizer, not an epoch
        walked = round(walked * epoch_length / saved["epoch_length"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the optimizer has made no step yet
        for _ in range(walked):
            schedule.step()


def _are_cases(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value)


def _short(value: Any) -> str:
    text = ", ".join(value) or "none of them" if _are_cases(value) else str(value)
    return text if len(text) <= LONG else text[: LONG - 3] + "..."


def _walked(state: Mapping[str, Any]) -> int:
    """Steps of a schedule; a chained one does not count itself."""
    return int(state["last_epoch"] if "last_epoch" in state else _walked(state["_schedulers"][0]))
