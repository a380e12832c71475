"""Where in a bundle's YAML an error of MONAI's lies: one line for people, with the file and its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import yaml

from heartseg.config.values import check_kind
from heartseg.errors import InputError, causes, flat

MACRO = re.compile(r"%([^\s:\"']+\.(?:yaml|yml)):")  # a file that another one takes ids from
CLASS = re.compile(r"Cannot locate class or function path: '(.+?)'")
COMPONENT = re.compile(r"Failed to instantiate component '(.+?)' with keywords: (\S*)")
EXPRESSION = re.compile(r"Failed to evaluate ConfigExpression: \s*\"(.+)\"", re.DOTALL)
MISSING = re.compile(
    r"referring item `@(.+?)` is not|expected ID '(.+?)' in|query key: (.+?)'?$|circular references '(.+?)' for"
)
RESOLVED = re.compile(r"__local_refs\['(.+?)'\]")  # how MONAI rewrites @id in an expression
OF_THE_YAML = (TypeError, ValueError, AttributeError, LookupError, AssertionError)  # what wrong arguments raise


class Entry(NamedTuple):
    """A key or value of a YAML file: its id, its file and line, and the keys of the mapping that it stands in."""

    id: str
    place: str
    text: str
    keys: frozenset[str]


def yaml_fault(error: yaml.YAMLError, file: str | Path) -> InputError:
    """What keeps a YAML file from being read, with its line where the parser tells."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "cannot be read"
    line = f":{mark.line + 1}" if mark else ""
    return InputError(f"{file}{line}: broken YAML: {problem}; mend this line")


def fault_of(error: BaseException, bundle: Path, files: Sequence[str]) -> InputError | None:
    """What the configurations of a bundle are to blame for in an error of MONAI's; None for any other error.

    Args:
        error: what was raised; the errors that led to it are looked at too.
        bundle, files: the bundle's folder and its configurations relative to it, the base first.
    """
    for found in causes(error):
        if isinstance(found, yaml.YAMLError):  # of a file that a macro names: the mark knows it, if from the bundle
            mark = getattr(found, "problem_mark", None)
            return yaml_fault(found, bundle / mark.name if mark else bundle / files[0])
        if fault := _fault(found, bundle, files):
            return InputError(fault)
    return None


def read_yaml(path: Path) -> dict[Any, Any]:
    """The ids and values of a YAML file. Raises InputError, with the line if it can, where it holds anything else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise yaml_fault(error, path) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or flat(error)
        raise InputError(f"{path}: cannot be read ({reason}); mend it") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path}:1: holds {kind}, not ids and values; write ID: VALUE")
    if odd := [key for key in content if not isinstance(key, str)]:
        places = (entry.place for entry in _entries(path) if entry.text.lower() == str(odd[0]).lower())
        where = next(places, f"{path}:1")
        raise InputError(f"{where}: {odd[0]!r} is no id; write a name before the colon")
    return content


def check_files(bundle: Path, files: Sequence[str]) -> None:
    """Refuse a configuration that is broken, or that does to an id of those before it what nobody means.

    That is: a value of another kind; a part that takes the place of all the parts there are; and an id that nothing
    asks for but that is nearly one of theirs.

    Raises InputError that names file and line.
    """
    base: dict[Any, Any] = {}
    for path in (bundle / file for file in files):
        content = read_yaml(path)
        for name, value in content.items():
            fault = _part_for_all(name, base.get(name), value) or (base and _misspelt(name, base, bundle, files))
            try:
                check_kind(name, base.get(name), value)
            except InputError as error:
                fault = f"{str(error).removeprefix('--set ')}; mend this line"
            if fault:
                place = next(entry.place for entry in _entries(path) if entry.text == name)
                raise InputError(f"{place}: {fault}")
        base |= content


def _part_for_all(name: str, old: Any, value: Any) -> str | None:
    """What is wrong with a mapping that was meant to change one part of a section, and replaces the section."""
    if not isinstance(old, dict) or not isinstance(value, dict) or "_target_" in value:
        return None
    lost = [key for key in old if key not in value]
    if not lost or not any(isinstance(part, dict) for part in old.values()):
        return None
    identity, inner = name, value
    while isinstance(inner, dict) and len(inner) == 1 and "_target_" not in inner:
        [(key, inner)] = inner.items()
        identity += f"::{key}"
    return (
        f"{name} would lose {', '.join(map(str, lost))}; to change one part write its whole id, as in {identity}: ..."
    )


def _misspelt(name: str, base: Mapping[str, Any], bundle: Path, files: Sequence[str]) -> str | None:
    """What is wrong with an id that no file asks for and that is nearly one of the base's."""
    top = name.replace("#", "::").lstrip("+").split("::")[0]
    near = get_close_matches(top, list(base), n=1, cutoff=0.8)
    if top in base or not near:
        return None
    asked = re.compile(rf"[@%:]{re.escape(top)}\b")
    asks = any(asked.search(entry.text) for file in _all_files(bundle, files) for entry in _entries(file))
    return None if asks else f"{name} is no id of the configuration; did you mean {near[0]}?"


def _fault(error: BaseException, bundle: Path, files: Sequence[str]) -> str | None:
    text, cause, folder = str(error), error.__cause__, str(bundle / "configs")

    def place(fits: Callable[[Entry], Any]) -> str:
        entries = (entry for file in _all_files(bundle, files) for entry in _entries(file))
        return next((entry.place for entry in entries if fits(entry)), folder)

    if match := CLASS.search(text):
        name = match[1]
        return f"{place(lambda entry: entry.text == name)}: there is no class or function {name}; mend its name"
    if (match := COMPONENT.search(text)) and isinstance(cause, OF_THE_YAML):
        name, keys = match[1], {key for key in match[2].split(",") if key}
        where = place(lambda entry: entry.text == name and keys <= entry.keys)
        return f"{where}: {name} does not take these arguments ({flat(cause)}); mend them"
    if (match := EXPRESSION.search(text)) and cause is not None and _of_the_text(cause):
        expression, reason = RESOLVED.sub(r"@\1", match[1]), flat(cause)
        where = place(lambda entry: _plain(entry.text) == _plain(expression))
        return f"{where}: {' '.join(expression.split())} cannot be evaluated ({reason}); mend it"
    if isinstance(error, SyntaxError) and error.text:  # MONAI reads an expression's ids before it evaluates it
        line = RESOLVED.sub(r"@\1", error.text.strip())
        where = place(lambda entry: line in _plain(entry.text))
        return f"{where}: {line} cannot be evaluated ({error.msg}); mend it"
    if isinstance(error, FileNotFoundError) and error.filename:
        where = place(lambda entry: f"%{error.filename}:" in entry.text)
        missing = f"{where}: does not resolve: there is no file {error.filename}; mend its name"
        return missing if where != folder else None
    if isinstance(error, ValueError | KeyError) and (match := MISSING.search(text)):
        return _missing(next(filter(None, match.groups())), bool(match[4]), place)
    return None


def _missing(name: str, circular: bool, place: Callable[[Callable[[Entry], Any]], str]) -> str:
    named = re.compile(rf"{'@' if circular else '(@|::)'}{re.escape(name)}(?!\w)")
    if circular:
        where = place(lambda entry: f"{entry.id}::".startswith(f"{name}::") and named.search(_plain(entry.text)))
        return f"{where}: the id {name} refers to itself; give it a value"
    where = place(lambda entry: named.search(_plain(entry.text)))
    return f"{where}: the id {name} is nowhere defined; mend its name, or define it"


def _of_the_text(error: BaseException) -> bool:
    """Whether an expression itself is wrong, and not something deep in what it calls."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    inner = trace.tb_frame.f_code.co_filename if trace else ""
    return isinstance(error, SyntaxError) or inner == "<string>"


def _plain(text: str) -> str:
    return text.strip().replace("#", "::")


def _all_files(bundle: Path, files: Sequence[str]) -> list[Path]:
    """The configurations, the last overlay first since it counts most, then those that macros name."""
    found = [bundle / file for file in reversed(files)]
    for path in found:
        if path.is_file():
            named = [bundle / name for name in MACRO.findall(path.read_text(encoding="utf-8", errors="replace"))]
            found += [other for other in dict.fromkeys(named) if other not in found]
    return found


def _entries(path: Path) -> Iterator[Entry]:
    """Every key and value of a YAML file in its order; none where it cannot be read."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return
    pending: list[tuple[str, yaml.Node, frozenset[str]]] = [("", root, frozenset())] if root else []
    while pending:
        identity, node, keys = pending.pop()
        above = f"{identity}::" if identity else ""
        if isinstance(node, yaml.MappingNode):
            own = frozenset(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            for key, value in reversed(node.value):
                pending += [(f"{above}{key.value}", child, own) for child in (value, key)]
        elif isinstance(node, yaml.SequenceNode):
            items = list(enumerate(node.value))
            pending += [(f"{above}{index}", child, keys) for index, child in reversed(items)]
        else:
            yield Entry(identity, f"{path}:{node.start_mark.line + 1}", str(node.value), keys)
