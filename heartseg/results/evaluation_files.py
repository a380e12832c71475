"""Reading what an evaluation wrote."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heartseg.errors import InputError
from heartseg.metrics.table import metrics_in

RESULTS = "evaluation_results.json"
REMEDY = "name the folder that heartseg evaluate or robustness wrote"
LARGEST = 1e9  # beyond all shares, distances in mm and strengths; what is computed from such numbers stays finite
DEEPEST = 20  # levels of nesting, of what is written on


def read_evaluation(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of an evaluation's folder, or of its ``evaluation_results.json``, with its place under ``file``.

    Raises InputError for a file that is missing, broken, or no evaluation of cases.
    """
    file = Path(path) / RESULTS if Path(path).is_dir() else Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: is no JSON; {REMEDY}") from None
    parts = content if isinstance(content, dict) else {}
    names = ["clean", *artifacts_of(parts)]
    faults = {name: _fault(parts.get(name)) if _is_name(name) else "is no name of one line" for name in names}
    faults["provenance"] = _source_fault(parts.get("provenance"))
    for name, fault in faults.items():
        if fault:
            told = name if _is_name(name) else ascii(name)
            raise InputError(f"{file}: is no evaluation of cases: {told}: {fault}; {REMEDY}")
    return {**parts, "file": str(file)}


def artifacts_of(results: Mapping[str, Any]) -> list[str]:
    """The artifacts of an evaluation of robustness; none for a plain one."""
    return [name for name, part in results.items() if isinstance(part, dict) and "severities" in part]


def _fault(part: Any) -> str | None:
    """What keeps a part of an evaluation from being one; None where nothing does."""
    cases = part.get("cases") if isinstance(part, dict) else None
    if not isinstance(cases, list) or not cases:
        return "there is no list of cases"
    if not all(isinstance(case, dict) and _is_name(case.get("id")) for case in cases):
        return "a case has no id"
    if len({case["id"] for case in cases}) < len(cases):
        return "an id occurs twice"
    strengths = part.get("strengths")
    if strengths is not None and not (_is_table(strengths) and all(map(_is_number, strengths.values()))):
        return "strengths are not numbers by name, or too large"
    if part.get("settings") is not None and not (_is_table(part["settings"]) and _is_plain(part["settings"])):
        return "settings are not values by name, or nested too deep"
    return next((fault for case in cases if (fault := _case_fault(case))), None)


def _case_fault(case: Mapping[str, Any]) -> str | None:
    if not (metrics := metrics_in(case)):
        return f"{case['id']} has no metric"
    for name in (metric.name for metric in metrics):
        if not (case[name] is None or _is_number(case[name])):
            return f"{name} of {case['id']} is not a number or null, or too large for one"
    if not isinstance(case.get("seen"), bool | None):
        return f"seen of {case['id']} is not true, false or null"
    classes = case.get("classes")
    if classes is not None and not (_is_table(classes) and all(isinstance(row, dict) for row in classes.values())):
        return f"classes of {case['id']} are not tables by name"
    return None


def _source_fault(source: Any) -> str | None:
    if source is None:
        return None
    if not isinstance(source, dict):
        return "is no table of settings"
    tolerance = source.get("tolerance_mm")
    if not (tolerance is None or _is_number(tolerance)):
        return "tolerance_mm is not a number or null"
    return None if _is_plain(source) else "holds what is not finite, or is nested too deep"


def _is_number(value: Any) -> bool:
    """Whether it can be computed with: of JSON's numbers, not NaN, and neither infinite nor of 400 digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _is_name(value: Any) -> bool:
    """Whether it is text of one line that can be written: JSON may escape half a character."""
    return isinstance(value, str) and len(value.splitlines()) <= 1 and value.encode(errors="replace").decode() == value


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value))


def _is_plain(value: Any, levels: int = DEEPEST) -> bool:
    """Whether it can be written as JSON again."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_plain(item, levels - 1) for item in items)
    return not isinstance(value, float) or math.isfinite(value)
