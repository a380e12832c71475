"""Read and check the results that an evaluation wrote."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heartseg.errors import InputError
from heartseg.metrics.table import metrics_in
from heartseg.numbers import is_number

RESULTS = "evaluation_results.json"
REMEDY = "give the folder that heartseg evaluate or robustness wrote"
LARGEST = 1e9  # above all metrics, distances in mm and strengths, and small enough to compute with
MAX_DEPTH = 20  # levels of nesting in values that are written again


def read_evaluation(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read an evaluation from its folder or its ``evaluation_results.json``; adds the path under ``file``.

    Raises InputError for a file that is missing, broken, or not an evaluation of cases.
    """
    file = Path(path) / RESULTS if Path(path).is_dir() else Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: is not JSON; {REMEDY}") from None
    parts = content if isinstance(content, dict) else {}
    names = ["clean", *artifacts_of(parts)]
    faults = {name: _fault(parts.get(name)) if _is_name(name) else "is not a one-line name" for name in names}
    faults["provenance"] = _source_fault(parts.get("provenance"))
    for name, fault in faults.items():
        if fault:
            shown = name if _is_name(name) else ascii(name)
            raise InputError(f"{file}: is not an evaluation of cases: {shown}: {fault}; {REMEDY}")
    return {**parts, "file": str(file)}


def artifacts_of(results: Mapping[str, Any]) -> list[str]:
    """Return the names of the artifacts in a robustness evaluation; none for a plain evaluation."""
    return [name for name, part in results.items() if isinstance(part, dict) and "severities" in part]


def _fault(part: Any) -> str | None:
    """Return what is wrong with one part of an evaluation, such as ``clean``; None if nothing is."""
    cases = part.get("cases") if isinstance(part, dict) else None
    if not isinstance(cases, list) or not cases:
        return "there is no list of cases"
    if not all(isinstance(case, dict) and _is_name(case.get("id")) for case in cases):
        return "a case has no id"
    if len({case["id"] for case in cases}) < len(cases):
        return "an id is repeated"
    strengths = part.get("strengths")
    if strengths is not None and not (_is_table(strengths) and all(map(_is_number, strengths.values()))):
        return "strengths are not numbers by name, or too large"
    if part.get("settings") is not None and not (_is_table(part["settings"]) and _is_plain(part["settings"])):
        return "settings are not values by name, or nested too deeply"
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
        return "is not a table of settings"
    tolerance = source.get("tolerance_mm")
    if not (tolerance is None or _is_number(tolerance)):
        return "tolerance_mm is not a number or null"
    return None if _is_plain(source) else "has values that are not finite, or is nested too deeply"


def _is_number(value: Any) -> bool:
    """Return whether a JSON value is a number to compute with: not NaN, not infinite, and not too large."""
    return is_number(value) and abs(value) <= LARGEST


def _is_name(value: Any) -> bool:
    """Return whether a value is one line of text that can be encoded; JSON may hold lone surrogates."""
    return isinstance(value, str) and len(value.splitlines()) <= 1 and value.encode(errors="replace").decode() == value


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value))


def _is_plain(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Return whether a value can be written as JSON again."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_plain(item, levels - 1) for item in items)
    return not isinstance(value, float) or math.isfinite(value)
