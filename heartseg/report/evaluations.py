"""Reading what an evaluation wrote."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heartseg.errors import InputError
from heartseg.handlers.cases import RESULTS

COMPARED = ("dice", "hd95", "assd", "nsd")  # of a case's numbers
REMEDY = "name the folder that heartseg evaluate or robustness wrote"


def read_evaluation(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of an evaluation's folder, or of its ``evaluation_results.json``, with its place under ``file``.

    Raises InputError for a file that is missing, broken, or no evaluation of cases.
    """
    file = Path(path) / RESULTS if Path(path).is_dir() else Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
    except ValueError:
        raise InputError(f"{file}: is no JSON; {REMEDY}") from None
    parts = content if isinstance(content, dict) else {}
    for name in ["clean", *artifacts_of(parts)]:
        if fault := _fault(parts.get(name)):
            raise InputError(f"{file}: is no evaluation of cases: {name}: {fault}; {REMEDY}")
    return {**parts, "file": str(file)}


def artifacts_of(results: Mapping[str, Any]) -> list[str]:
    """The artifacts of an evaluation of robustness; none for a plain one."""
    return [name for name, part in results.items() if isinstance(part, dict) and "severities" in part]


def _fault(part: Any) -> str | None:
    """What keeps a part of an evaluation from being one; None where nothing does."""
    cases = part.get("cases") if isinstance(part, dict) else None
    if not isinstance(cases, list) or not cases:
        return "there is no list of cases"
    if not all(isinstance(case, dict) and isinstance(case.get("id"), str) for case in cases):
        return "a case has no id"
    if len({case["id"] for case in cases}) < len(cases):
        return "an id occurs twice"
    for case in cases:
        for metric in COMPARED:
            if metric not in case or not _number_or_null(case[metric]):
                return f"{metric} of {case['id']} is not a number or null"
    return None


def _number_or_null(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))
