"""Errors that a bundle's YAML causes: one line for people, with file and line, instead of MONAI's traceback."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from monai.bundle import ConfigParser, ReferenceResolver

from heartseg.config.yaml_files import Entry, entries, yaml_fault
from heartseg.errors import InputError, causes, flat, input_error

WRONG_ARGUMENTS = (TypeError, ValueError, AttributeError, LookupError, AssertionError)
FAILED = "_heartseg_failed"  # attribute of an error: the resolver that raised it, and the id it was resolving


class TracingResolver(ReferenceResolver):
    """MONAI's resolver, which notes in every error the id that it was resolving.

    Args:
        parser: the parser whose resolver it becomes.
        bundle, files: the bundle's folder and its configurations relative to it, the base first.
    """

    def __init__(self, parser: ConfigParser, bundle: Path, files: Sequence[str]) -> None:
        super().__init__()
        self.parser, self.bundle, self.files = parser, bundle, list(files)

    def _resolve_one_item(self, id: str, waiting_list: set[str] | None = None, **kwargs: Any) -> Any:
        try:
            return super()._resolve_one_item(id, waiting_list, **kwargs)
        except Exception as error:
            if not hasattr(error, FAILED):  # the innermost id is the first to see the error
                setattr(error, FAILED, (self, self.normalize_id(id)))
            raise

    def fault(self, error: BaseException, identity: str) -> str | None:
        """Return what is wrong at an id whose resolution failed; None if the YAML is not to blame."""
        if isinstance(error, SyntaxError):  # MONAI parses all expressions, whichever one it was asked for
            identity = next((name for name in self.items if _is_broken(self.parser.get(name))), identity)
        config, cause = self.parser.get(identity), error.__cause__
        if isinstance(error, ValueError | KeyError):
            for leaf, ref in self._refs(identity, config):
                if ref not in self.parser:
                    return f"{self.place(leaf)}: the id {ref} is not defined; fix its name, or define it"
                if self._leads_to(ref, identity, set()):
                    return f"{self.place(leaf)}: the id {identity} refers to itself; give it a value"
        if isinstance(config, dict) and "_target_" in config:
            where = self.place(f"{identity}::_target_")
            name = config["_target_"]
            if isinstance(error, ModuleNotFoundError):
                return f"{where}: there is no class or function {name}; fix its name"
            if isinstance(cause, WRONG_ARGUMENTS):
                return f"{where}: {name} does not take these arguments ({flat(cause)}); fix them"
        if isinstance(config, str):
            broken = error if isinstance(error, SyntaxError) else cause
            if broken is not None and _in_the_text(broken):
                reason = broken.msg if isinstance(broken, SyntaxError) else flat(broken)
                return f"{self.place(identity)}: {' '.join(config.split())} cannot be evaluated ({reason}); fix it"
        return None

    def place(self, identity: str) -> str:
        """Return ``file:line`` of an id; ``--set ID`` if its value is not the one in the files."""
        where = _find(self.bundle, list(reversed(self.files)), identity)
        if where is None:
            return str(self.bundle / "configs")
        value = self.parser.get(identity)
        same = not isinstance(value, str) or not where.text or where.text.replace("#", "::") == value.replace("#", "::")
        return where.place if same else f"--set {identity}"

    def _refs(self, identity: str, config: Any) -> Iterator[tuple[str, str]]:
        """Yield each reference in a configuration, with the id of the value that holds it."""
        if isinstance(config, dict | list):
            for _, inner, value in self.iter_subconfigs(identity, config):
                yield from self._refs(inner, value)
        elif isinstance(config, str):
            yield from ((identity, ref) for ref in self.match_refs_pattern(config))

    def _leads_to(self, start: str, target: str, seen: set[str]) -> bool:
        if start == target or target.startswith(f"{start}::"):
            return True
        if start in seen:
            return False
        seen.add(start)
        refs = (ref for _, ref in self._refs(start, self.parser.get(start)))
        return any(self._leads_to(ref, target, seen) for ref in refs)


@contextmanager
def readable(bundle: Path | None = None, files: Sequence[str] = ()) -> Iterator[None]:
    """Raise the InputError behind an error of MONAI, or what the YAML did wrong, instead of the error."""
    try:
        yield
    except Exception as error:
        found = input_error(error) or fault_of(error, bundle, files)
        if found is None or found is error:
            raise
        raise found from error


def fault_of(error: BaseException, bundle: Path | None = None, files: Sequence[str] = ()) -> InputError | None:
    """Return what a bundle's YAML did wrong, given the error that MONAI raised; None for any other error.

    Args:
        error: what was raised. If a `TracingResolver` was at work, it knows the rest.
        bundle, files: the bundle's folder and its configurations, for errors while files are read and macros resolved.
    """
    for found in reversed(list(causes(error))):
        if hasattr(found, FAILED):
            resolver, identity = getattr(found, FAILED)
            if fault := resolver.fault(found, identity):
                return InputError(fault)
        if isinstance(found, yaml.YAMLError) and bundle is not None:
            mark = getattr(found, "problem_mark", None)
            return yaml_fault(found, bundle / mark.name if mark else bundle / files[0])
    if bundle is not None and isinstance(error, OSError | ValueError | KeyError):
        return _broken_macro(bundle, files)
    return None


def _broken_macro(bundle: Path, files: Sequence[str]) -> InputError | None:
    for entry in (entry for file in reversed(files) for entry in entries(bundle / file) if entry.text.startswith("%")):
        path, identity = ConfigParser.split_path_id(entry.text[1:])
        if path and not (bundle / path).is_file():
            return InputError(f"{entry.place}: does not resolve: there is no file {path}; fix its name")
        if _find(bundle, [path] if path else list(reversed(files)), identity) is None:
            return InputError(f"{entry.place}: the id {identity} is not defined; fix its name, or define it")
    return None


def _find(bundle: Path, files: Sequence[str], identity: str) -> Entry | None:
    """Return where an id is defined: in the first file that has it, or where a macro of an id above it leads."""
    for file in files:
        known = {entry.id: entry for entry in entries(bundle / file)}
        if identity in known:
            return known[identity]
        above = identity
        while "::" in above:
            above = above.rpartition("::")[0]
            if above in known:
                text = known[above].text
                if text.startswith("%"):
                    path, source = ConfigParser.split_path_id(text[1:])
                    return _find(bundle, [path or file], source + identity.removeprefix(above)) or known[above]
                break
    return None


def _is_broken(expression: Any) -> bool:
    if not isinstance(expression, str) or not expression.startswith("$"):
        return False
    try:
        ast.parse(expression[1:].replace("@", "").replace("::", "_"))
    except SyntaxError:
        return True
    return False


def _in_the_text(error: BaseException) -> bool:
    """Return whether an expression itself is wrong, and not something deep in what it calls."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    inner = trace.tb_frame.f_code.co_filename if trace else ""
    return isinstance(error, SyntaxError) or inner == "<string>"
