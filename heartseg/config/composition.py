"""Compose configurations: a base, its overlays, and the values of ``--set``, in this order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from heartseg.config.config_errors import TracingResolver, fault_of
from heartseg.config.knobs import grouped, is_heading, limits
from heartseg.config.values import check_kind
from heartseg.config.yaml_files import entries, read_yaml
from heartseg.data.files import atomic
from heartseg.errors import InputError, first_line
from heartseg.training.run_folder import CONFIG
from heartseg.training.setting_changes import SPLIT, WEIGHTS


class _Values(yaml.SafeLoader):
    """YAML as people mean it: ``1e-4`` is a number, which YAML 1.1 reads as text, and a date is text."""


_Values.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Values.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return ``["epochs=2", "spacing=[2,2,2]"]`` as a mapping of ids to YAML values, ``1e-4`` being a number."""
    parsed = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {setting}: is not ID=VALUE, as in epochs=2")
        try:
            value = yaml.load(text, _Values)
        except yaml.YAMLError:
            if text.strip().startswith(("[", "{", "'", '"')):
                raise InputError(f"--set {setting}: is not valid YAML; close its brackets and quotes") from None
            value = text  # such as a reference: @id
        parsed[name.strip().replace("#", "::")] = value
    return parsed


def compose(
    bundle: Path, files: Sequence[str], settings: Mapping[str, Any], paths: Mapping[str, Any] | None = None
) -> ConfigParser:
    """Compose base, overlays and settings, in this order, as ``monai.bundle run`` merges them.

    ``settings`` come from a person and must name an id that exists, or lie in a mapping that the YAML leaves empty;
    ``paths`` come from the command's own options and are set as they are. Raises InputError for a broken YAML file, an
    unknown id, a value of the wrong kind, and a path that a configuration cannot hold.
    """
    parser = _read(bundle, files)
    parser.ref_resolver = TracingResolver(parser, bundle, files)
    with chdir(bundle):
        settings = _folded(parser, settings)
        _check_ids(parser, settings)
        _check_paths([*(paths or {}).values(), *settings.values()])
        if unknown := [name for name in paths or {} if name not in parser]:
            raise InputError(f"{bundle.name}: its YAML has no {unknown[0]}, which an option of this command sets")
        try:
            parser.resolve_macro_and_relative_ids()  # a knob of train.yaml may be a macro for one of inference.yaml
            known = limits(bundle)
            grouped(parser.get())
            for name, value in settings.items():
                check_kind(name, parser[name], value, known, f"--set {name}")
            parser.update({**(paths or {}), **settings})
            parser.parse(True)
        except InputError:
            raise
        except (ValueError, KeyError, OSError, yaml.YAMLError) as error:
            unplaced = InputError(f"{bundle.name}: configuration does not resolve: {first_line(error)}")
            raise fault_of(error, bundle, files) or unplaced from error
    return parser


def fold_settings(bundle: Path, files: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as MONAI takes them, which cannot set an id that does not exist.

    What lies in a mapping that is empty in the YAML becomes a value of this mapping: ``{"a::b::c": 1}`` becomes
    ``{"a": {"b": {"c": 1}}}`` where the YAML says ``a: {}``. Raises InputError for a broken YAML file.
    """
    return _folded(_read(bundle, files), settings)


def settings_of_run(run: Path, split: bool = False) -> dict[str, Any]:
    """Return the knobs that the weights of a run must be used with, from its ``config.yaml``; empty without one.

    They are those under the heading ``_weights_`` (`heartseg.config.knobs`); with ``split`` also those under
    ``_split_``, so that the run's own ``val`` and ``train`` are found again. Raises InputError where the file is
    broken: using other settings than in training fails silently.
    """
    if not (run / CONFIG).exists():
        return {}
    groups = grouped(read_yaml(run / CONFIG))
    if not groups:
        raise InputError(
            f"{run / CONFIG}: has no headings of knobs, which say what its weights need; give --weights, and --set for "
            "what differs from the YAML"
        )
    return {**groups.get(WEIGHTS, {}), **(groups.get(SPLIT, {}) if split else {})}


def write_config(config: Mapping[str, Any], path: Path) -> None:
    """Write a composed configuration as YAML, for a later ``monai.bundle run`` and for `settings_of_run`."""
    with atomic(path) as temporary:
        ConfigParser.export_config_file(dict(config), temporary, fmt="yaml", sort_keys=False)


def check_files(bundle: Path, files: Sequence[str]) -> None:
    """Refuse a configuration that is broken, or that overlays the files before it in a way that is never intended.

    That is: a value of another kind; a part of a section that would replace the whole section; and an id that nothing
    refers to and that is nearly one of theirs.

    Raises InputError that names file and line.
    """
    base: dict[Any, Any] = {}
    known = limits(bundle)
    for path in (bundle / file for file in files):
        content = read_yaml(path)
        _check_declarations(path, base)
        for name, value in content.items():
            fault = _part_for_all(name, base.get(name), value) or (base and _misspelt(name, base, bundle, files))
            try:
                check_kind(name, base.get(name), value, known, where=name)
            except InputError as error:
                fault = f"{error}; fix this line"
            if fault:
                identity = name.replace("#", "::").lstrip("+")
                raise InputError(f"{next(e.place for e in entries(path) if e.id == identity)}: {fault}")
        base |= content


def _check_declarations(path: Path, base: Mapping[Any, Any]) -> None:
    """Refuse an id that is twice in a file, and a heading of an earlier file, where its knobs would have no group."""
    lines: dict[str, str] = {}
    for entry in (entry for entry in entries(path) if "::" not in entry.id):
        if entry.id in lines:
            raise InputError(f"{entry.place}: {entry.id} is in this file already ({lines[entry.id]}); remove one")
        lines[entry.id] = entry.place
        if entry.id in base and is_heading(entry.id):
            raise InputError(f"{entry.place}: {entry.id} is a heading of an earlier file; declare its knobs there")


def _read(bundle: Path, files: Sequence[str]) -> ConfigParser:
    check_files(bundle, files)
    parser = ConfigParser()
    with chdir(bundle):
        parser.read_config(list(files))
    return parser


def _folded(parser: ConfigParser, settings: Mapping[str, Any]) -> dict[str, Any]:
    folded: dict[str, Any] = {}
    for name, value in deepcopy(dict(settings)).items():
        keys = name.split("::")
        depth = next((n for n in range(1, len(keys)) if parser.get("::".join(keys[:n])) == {}), len(keys))
        *above, last = "::".join(keys[:depth]), *keys[depth:]
        mapping = folded
        for key in above:
            mapping[key] = mapping[key] if isinstance(mapping.get(key), dict) else {}
            mapping = mapping[key]
        mapping[last] = value
    return folded


def _check_ids(parser: ConfigParser, settings: Mapping[str, Any]) -> None:
    for name in settings:
        if name == "imports" or is_heading(name):
            raise InputError(f"--set {name}: is not a value; set one of the knobs")
        if name in parser:
            continue
        known = list(_ids(parser.get()))
        near = get_close_matches(name, known, n=1, cutoff=0.5) or [
            identity for identity in known if identity.rpartition("::")[2] == name.rpartition("::")[2]
        ]
        hint = f"did you mean {near[0]}?" if near else "knobs are listed at the top of the YAML"
        raise InputError(f"--set {name}: the configuration has no such id; {hint}")


def _check_paths(values: Sequence[Any]) -> None:
    for value in values:
        if isinstance(value, str) and "#" in value and not value.startswith(("$", "@", "%")):
            raise InputError(f"{value}: MONAI would read # as :: and use another path; rename it without #")


def _ids(config: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(config, dict):
        for key, value in config.items():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
                yield from _ids(value, f"{prefix}{key}::")


def _part_for_all(name: str, old: Any, value: Any) -> str | None:
    """Return what is wrong with a mapping that was meant to change one part of a section and replaces all of it."""
    if not isinstance(old, dict) or not isinstance(value, dict) or "_target_" in value:
        return None
    lost = [key for key in old if key not in value]
    if not lost or not any(isinstance(part, dict) for part in old.values()):
        return None
    identity, inner = name, value
    while isinstance(inner, dict) and len(inner) == 1 and "_target_" not in inner:
        [(key, inner)] = inner.items()
        identity += f"::{key}"
    parts = ", ".join(map(str, lost))
    return f"{name} would lose {parts}; to change one part write its whole id, as in {identity}: ..."


def _misspelt(name: str, base: Mapping[str, Any], bundle: Path, files: Sequence[str]) -> str | None:
    """Return what is wrong with an id that no file refers to and that is nearly one of the base's."""
    top = name.replace("#", "::").lstrip("+").split("::")[0]
    near = get_close_matches(top, list(base), n=1, cutoff=0.8)
    if top in base or not near:
        return None
    used = re.compile(rf"[@%:]{re.escape(top)}\b")
    texts = (entry.text for file in _all_files(bundle, files) for entry in entries(bundle / file))
    fault = f"{name} is not an id of the configuration; did you mean {near[0]}?"
    return None if any(map(used.search, texts)) else fault


def _all_files(bundle: Path, files: Sequence[str]) -> list[str]:
    """Return the configurations and those that their macros name."""
    found = list(files)
    for file in found:
        texts = (entry.text for entry in entries(bundle / file))
        named = (ConfigParser.split_path_id(text[1:])[0] for text in texts if text.startswith("%"))
        found += [path for path in dict.fromkeys(named) if path and path not in found]
    return found
