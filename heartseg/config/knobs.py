"""Knobs: the ids on top of a bundle's YAML, grouped by headings, with their limits in their comments.

A heading is an id of `GROUPS`, such as ``_weights_``, whose value says in a sentence what the group is. The ids below
it, down to the next heading, are its knobs; ``_system_`` ends the last group (in an overlay, which is merged into the
files before it, ``_system_of_`` with its name). So a knob is declared once: what a run records, what it compares when
it resumes, and what ``--run`` takes along follow from its place. A comment may begin with a limit, as in
``epochs: 500  # [> 0] passes over the training cases``.

==============  ===========================================================================================
``_paths_``     where data and results are and where it computes: not recorded, may change
``_fixed_``     recorded; a run resumes only with the same
``_split_``     likewise, and ``--run RUN --split val`` takes them along: what decides which cases train
``_weights_``   likewise, and ``--run`` takes them along: what weights are used with as they were trained
``_schedule_``  recorded, may change: the learning rate's course is computed anew
``_free_``      recorded, may change
``_evaluation_``  what is evaluated, and how: not recorded
``_conditions_``  recorded: what an evaluation of robustness was made with
==============  ===========================================================================================
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from heartseg.config.values import PATHS, Limit, check_device, check_number
from heartseg.errors import InputError, nearest
from heartseg.training.setting_changes import FIXED, FREE, SCHEDULE, SPLIT

RECORDED = (*FIXED, SCHEDULE, FREE, "_conditions_")
GROUPS = ("_paths_", "_evaluation_", *RECORDED)
END = re.compile(r"_system(_\w+)?_")  # ends the last group; an overlay, which needs another one, says what of
LIMIT = re.compile(r"^(\w+):.*?\s#\s*\[([^\]]+)\]")

Knobs = dict[str, dict[str, Any]]


def is_heading(name: str) -> bool:
    """Return whether an id begins or ends a group of knobs."""
    return name in GROUPS or END.fullmatch(name) is not None


def grouped(config: Mapping[str, Any]) -> Knobs:
    """Return the knobs of a composed configuration by heading, with their values as they stand in the YAML.

    Raises InputError for an unknown heading, which would take a whole group along, and for a knob above all headings.
    """
    groups: Knobs = {}
    headless: list[str] = []
    current: str | None = None
    for name, value in config.items():
        if is_heading(name):
            current = name
        elif name == ConfigParser.meta_key:
            continue
        elif name != name.strip("_"):
            raise InputError(f"{name}: is not a heading of knobs; {nearest(name, [*GROUPS, '_system_'])}")
        elif current is None:
            headless += [name] if name != "imports" else []
        elif current in GROUPS:
            groups.setdefault(current, {})[name] = value
    if groups and headless:
        raise InputError(f"{headless[0]}: is above all headings of knobs; move it below the one that it belongs to")
    return groups


def knobs(*groups: str) -> Knobs:
    """Return the recorded knobs by heading, with their resolved values; for an expression in a bundle's YAML.

    Args:
        groups: headings to return; none returns all that are recorded.
    """
    parser = _running_parser()

    def get(name: str, text: Any) -> Any:
        value = parser.ref_resolver.get_resolved_content(name)
        return text if callable(value) else value  # a function is another object in each process

    return {
        # A file of a split may move; the cases that it names are recorded by themselves.
        group: {name: get(name, text) for name, text in names.items() if not (group == SPLIT and name in PATHS)}
        for group, names in grouped(parser.get()).items()
        if group in (groups or RECORDED)
    }


def settings(*groups: str) -> dict[str, Any]:
    """Return `knobs` as one mapping, without headings; for the provenance of results."""
    return {name: value for values in knobs(*groups).values() for name, value in values.items()}


def check_knobs() -> None:
    """Refuse knobs that no run can have, before anything is built; for ``initialize`` in a bundle's YAML.

    Raises InputError, one line that names the knob: a device that is not there, a number beyond its limit.
    """
    parser = _running_parser()
    declared = limits(Path(str(parser.ref_resolver.get_resolved_content("bundle_root"))))
    for names in grouped(parser.get()).values():
        for name in names:
            value = parser.ref_resolver.get_resolved_content(name)
            if name == "device":
                check_device(value)
            elif fault := check_number(name, value, declared):
                raise InputError(f"{name}: {value!r} is not {fault}; change it")


def limits(bundle: Path) -> dict[str, Limit]:
    """Return the limits of a bundle's knobs, as the comments of its configurations declare them.

    Raises InputError, with file and line, for a limit that cannot be read, or that differs from one in another file.
    """
    found: dict[str, Limit] = {}
    for path in filter(Path.is_file, sorted((bundle / "configs").rglob("*.yaml"))):
        group = ""
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if is_heading(heading := line.split(":")[0]):
                group = heading
            match = LIMIT.match(line) if group in ("", *GROUPS) else None  # a file may be without headings
            limit = Limit.parse(match[2], f"{path}:{number}: {match[1]}") if match else None
            if match and limit and found.setdefault(match[1], limit) != limit:
                raise InputError(f"{path}:{number}: {match[1]}: has another limit in another file; declare it once")
    return found


def _running_parser() -> ConfigParser:
    """Return the parser that evaluates the expression this is called from.

    MONAI hands an expression what it refers to, and nothing else. A knob would have to be named once more to be
    recorded; so the parser is looked up in the call stack, where it always is.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(parser := frame.f_locals.get("self"), ConfigParser):
            return parser
        frame = frame.f_back
    raise RuntimeError("knobs are read by an expression in a bundle's YAML, such as $heartseg.config.knobs()")
