"""YAML files as text: their ids with file and line, and what keeps them from being read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from heartseg.errors import InputError, flat


class Entry(NamedTuple):
    """An id of a YAML file, with the place of its value (``file:line``) and the value's text; "" for a mapping."""

    id: str
    place: str
    text: str


def read_yaml(path: Path) -> dict[Any, Any]:
    """Return the ids and values of a YAML file. Raises InputError, with the line if known, for anything else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise yaml_fault(error, path) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or flat(error)
        raise InputError(f"{path}: cannot be read ({reason}); fix it") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path}:1: holds {kind}, not ids and values; write ID: VALUE")
    if odd := [key for key in content if not isinstance(key, str)]:
        where = next((entry.place for entry in entries(path) if entry.id.lower() == str(odd[0]).lower()), f"{path}:1")
        raise InputError(f"{where}: {odd[0]!r} is not an id; write a name before the colon")
    return content


def yaml_fault(error: yaml.YAMLError, file: str | Path) -> InputError:
    """Return what keeps a YAML file from being read, with its line where the parser knows it."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "cannot be read"
    line = f":{mark.line + 1}" if mark else ""
    return InputError(f"{file}{line}: broken YAML: {problem}; fix this line")


def entries(path: Path) -> Iterator[Entry]:
    """Yield every id of a YAML file with its line, in the file's order; nothing if it cannot be read."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return
    pending: list[tuple[str, int, yaml.Node]] = [("", 0, root)] if root else []
    while pending:
        identity, line, node = pending.pop()
        if identity:
            # A mapping is found at its key, a value where it stands.
            scalar = isinstance(node, yaml.ScalarNode)
            yield Entry(
                identity, f"{path}:{(node.start_mark.line if scalar else line) + 1}", str(node.value) if scalar else ""
            )
        above = f"{identity}::" if identity else ""
        if isinstance(node, yaml.MappingNode):
            items = [(str(key.value).replace("#", "::").lstrip("+"), key.start_mark.line, v) for key, v in node.value]
        elif isinstance(node, yaml.SequenceNode):
            items = [(str(index), item.start_mark.line, item) for index, item in enumerate(node.value)]
        else:
            continue
        pending += [(f"{above}{key}", at, value) for key, at, value in reversed(items)]
