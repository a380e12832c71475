"""Settings that changed since a run was started, and whether the run can resume with them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from heartseg import distributed
from heartseg.data.files import plain
from heartseg.errors import OtherRunError

# Headings of knobs (`heartseg.config.knobs`), by what a change of their knobs means to a run that resumes.
SPLIT, WEIGHTS = "_split_", "_weights_"
FIXED, SCHEDULE, FREE = ("_fixed_", SPLIT, WEIGHTS), "_schedule_", "_free_"

Settings = Mapping[str, Mapping[str, Any]]
Difference = tuple[str, str, Any, Any]  # group, name, before, now
# State of optimizers and schedules that counts steps, or follows from settings that are compared anyway.
COUNTS = {
    *("params", "lr", "initial_lr", "weight_decay", "state"),
    *("last_epoch", "base_lrs", "total_iters", "milestones", "start_factor", "T_0", "T_i", "T_cur"),
}
PARTS = {"param_groups", "_schedulers"}  # keys that hold the parts of an optimizer or a schedule
LONG = 60  # characters of a value in a message


def settings_of(knobs: Settings, cases: Mapping[str, Any], network: torch.nn.Module) -> dict[str, Any]:
    """Return the settings of a run in the groups ``fixed``, ``schedule`` and ``free``, as plain values.

    Args:
        knobs: by heading.
        cases: training and validation cases, each with its ``id``.
        network: what is trained, which is compared as text.
    """
    fixed = {name: value for heading in FIXED for name, value in knobs.get(heading, {}).items()}
    fixed |= {f"{part} cases": [case["id"] for case in own] for part, own in cases.items()}
    schedule = {**knobs.get(SCHEDULE, {}), "processes": distributed.size()}
    return dict(plain({"fixed": {**fixed, "network": str(network)}, "schedule": schedule, "free": knobs.get(FREE, {})}))


def changed(before: Settings, now: Settings, path: str | os.PathLike[str]) -> list[Difference]:
    """Return the settings that differ, as (group, name, before, now), of the groups ``fixed``, ``schedule``, ``free``.

    Raises OtherRunError, one line, if a ``fixed`` one differs from that of the checkpoint ``path``.
    """
    # By name alone, since a knob may have moved to another heading; the group is the one that it has now.
    groups = {name: group for side in (before, now) for group, values in side.items() for name in values}
    old, new = ({name: value for values in side.values() for name, value in values.items()} for side in (before, now))
    order = list(now)
    differences = [
        (group, name, old.get(name), new.get(name))
        for name, group in sorted(groups.items(), key=lambda item: (order.index(item[1]), item[0]))
        if old.get(name) != new.get(name)
    ]
    fixed = [(name, *values) for group, name, *values in differences if group == "fixed"]
    if fixed:
        changes = "; ".join(f"{name} was {format_change(old, new)}" for name, old, new in fixed)
        raise OtherRunError(f"{path}: cannot resume with other settings: {changes}; set it back, or use another folder")
    return differences


def redefined(before: Mapping[str, Any], now: Mapping[str, Any], path: str | os.PathLike[str]) -> list[Difference]:
    """Return how the YAML defines optimizer and schedules differently than it did, apart from the settings.

    Args:
        before: the states that were saved, by name; the optimizer is under ``optimizer``.
        now: the objects, by the same names.
        path: of the checkpoint.

    Raises OtherRunError if one of them is of another class, or cannot resume as it is now.
    """
    found = _differences("optimizer", "free", before["optimizer"], now["optimizer"].state_dict(), path)
    for name, item in now.items():
        if isinstance(item, LRScheduler) and not isinstance(item, ReduceLROnPlateau) and name in before:
            found += _differences(name, "schedule", before[name], item.state_dict(), path)
    return found


def _differences(name: str, group: str, before: Any, now: Any, path: str | os.PathLike[str]) -> list[Difference]:
    remedy = "set it back, or use another folder"
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = [key for key in {**before, **now} if key in PARTS or not (key in COUNTS or key.startswith("_"))]
        if other := [key for key in names if (key in before) != (key in now)]:
            raise OtherRunError(f"{path}: is of another {name} (only one has {other[0]}); {remedy}")
        named = [(name if key in PARTS else f"{name} {key}", key) for key in names]
        return [one for of, key in named for one in _differences(of, group, before[key], now[key], path)]
    if isinstance(before, list) and isinstance(now, list) and any(isinstance(one, Mapping) for one in [*before, *now]):
        if len(before) != len(now):
            raise OtherRunError(f"{path}: is of another {name} ({len(before)} parts, {len(now)} now); {remedy}")
        return [one for pair in zip(before, now, strict=True) for one in _differences(name, group, *pair, path)]
    if before != now and name.endswith("amsgrad"):  # only one of the two has counted what it needs
        raise OtherRunError(f"{path}: cannot resume: {name} was {format_change(before, now)}; {remedy}")
    return [] if before == now else [(group, name, before, now)]


def say_changes(differences: Sequence[Difference]) -> None:
    """Print a line for each changed setting."""
    for _, name, old, new in differences:
        print(f"{name}: was {format_change(old, new)}, from now on", flush=True)


def format_change(old: Any, new: Any) -> str:
    """Return ``0.002, is 0.001 now``; of lists of cases, or of modules as text, only what differs."""
    if _are_cases(old) and _are_cases(new):
        removed, added = ([item for item in a if item not in set(b)] for a, b in ((old, new), (new, old)))
        return f"with {_short(removed)}, is with {_short(added)} now"
    if isinstance(old, str) and isinstance(new, str) and "\n" in old:  # a network or loss: the first part that differs
        lines = zip(old.splitlines(), new.splitlines(), strict=False)
        pairs = ((one.strip().rstrip("("), two.strip().rstrip("(")) for one, two in lines if one != two)
        old, new = next(pairs, (old, new))
        if max(len(old), len(new)) > LONG:  # the first of its options that differs
            at = os.path.commonprefix([old, new]).rfind(" ") + 1
            old, new = (text[at:].split(", ")[0] for text in (old, new))
    return f"{_short(old)}, is {_short(new)} now"


def described(module: torch.nn.Module) -> str:
    """Return class and options of a module and its parts, such as a loss, one per line: text that can be compared."""
    lines = []
    for name, part in module.named_modules():
        options = {
            key: value
            for key, value in vars(part).items()
            if not key.startswith("_") and key != "training" and isinstance(value, bool | int | float | str | None)
        }
        listed = ", ".join(f"{key}={value}" for key, value in options.items())
        lines.append(f"{name}: {type(part).__name__}({listed})".removeprefix(": "))
    return "\n".join(lines)


def advance(schedule: LRScheduler, old: Mapping[str, Any], scale: float) -> None:
    """Step a new schedule to where the old one was: after as many epochs, now of ``scale`` times as many steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the optimizer has not made a step yet
        for _ in range(round(scale * _steps(old))):
            schedule.step()


def _are_cases(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value)


def _short(value: Any) -> str:
    text = ", ".join(value) or "none of them" if _are_cases(value) else str(value)
    return text if len(text) <= LONG else text[: LONG - 3] + "..."


def _steps(state: Mapping[str, Any]) -> int:
    """Return the steps of a schedule; a chained one does not count its own."""
    return int(state["last_epoch"] if "last_epoch" in state else _steps(state["_schedulers"][0]))
