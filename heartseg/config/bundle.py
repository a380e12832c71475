"""Bundles: where they are, how their configurations compose, and the command line that runs them."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow

import heartseg
from heartseg import distributed
from heartseg.config.config_errors import check_files, fault_of, read_yaml
from heartseg.config.values import check_kind
from heartseg.data.files import atomic
from heartseg.errors import InputError, input_error
from heartseg.training.run_folder import CONFIG, NEXT_CONFIG, keep_config

PACKAGE = Path(heartseg.__file__).parent
# A wheel keeps the bundles inside the package, a checkout beside it.
HOMES = (PACKAGE / "bundles", PACKAGE.parent / "bundles")

PATHS = ("dataset_dir", "output_dir", "split_file", "weights", "initial_weights")  # ids that hold one
# What weights are used with as they were trained.
OF_WEIGHTS = ("anatomy", "spacing", "roi_size", "input_size", "neighbours", "slice_axis", "spike_threshold")
OF_SPLIT = ("fold", "folds", "validation_share", "seed", "split_file")  # what says which cases trained


class _Values(yaml.SafeLoader):
    """YAML as people mean it: ``1e-4`` is a number, which YAML 1.1 reads as text, and a date is text."""


_Values.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Values.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def bundle_names() -> list[str]:
    """The bundles that come with heartseg."""
    return sorted({path.parents[1].name for home in HOMES for path in home.glob("*/configs/inference.yaml")})


def find_bundle(name: str | os.PathLike[str]) -> Path:
    """The folder of a bundle, from its name or its path. Raises InputError with the nearest name there is."""
    for folder in (*(home / str(name) for home in HOMES), Path(name)):
        if (folder / "configs" / "inference.yaml").is_file():
            return folder.resolve()
    names = bundle_names()
    near = get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
    raise InputError(f"{name}: no such bundle; {hint}")


def config_files(bundle: Path, base: str, overlays: Sequence[str] = ()) -> list[str]:
    """``configs/BASE.yaml`` and its overlays, relative to the bundle. Raises InputError for an unknown overlay."""
    files = []
    for name in (base, *overlays):
        file = f"configs/{name}.yaml"
        whole = {"inference", "train", "pose"}
        if not (bundle / file).is_file() or (name in whole and name != base):
            known = sorted(path.stem for path in (bundle / "configs").glob("*.yaml") if path.stem not in whole)
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
            raise InputError(f"overlay {name}: {bundle.name} has none of this name; {hint}")
        files.append(file)
    return files


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``["epochs=2", "spacing=[2,2,2]"]`` as a mapping: ids and YAML values, ``1e-4`` being a number."""
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


@contextmanager
def inside(bundle: Path) -> Iterator[None]:
    """Work in the bundle's folder, where macro paths are resolved."""
    before = Path.cwd()
    os.chdir(bundle)
    try:
        yield
    finally:
        os.chdir(before)


def compose(
    bundle: Path, files: Sequence[str], settings: Mapping[str, Any], paths: Mapping[str, Any] | None = None
) -> ConfigParser:
    """Base, overlays, settings, in this order, as ``monai.bundle run`` merges them.

    ``settings`` come from a person and must name an id that exists, or lie in a mapping that the YAML leaves
    empty; ``paths`` come from the command's own options and are set as they are. Raises InputError for a broken
    YAML file, an unknown id, and a path that a configuration cannot hold.
    """
    parser = _read(bundle, files)
    with inside(bundle):
        settings = _folded(parser, settings)
        _known_ids(parser, settings)
        _plain_paths([*(paths or {}).values(), *settings.values()])
        try:
            parser.resolve_macro_and_relative_ids()  # a knob of train.yaml may be a macro for one of inference.yaml
            for name, value in settings.items():
                check_kind(name, parser[name], value)
            parser.update({**(paths or {}), **settings})
            parser.parse(True)
        except InputError:
            raise
        except (ValueError, KeyError, OSError, yaml.YAMLError) as error:
            unplaced = InputError(f"{bundle.name}: configuration does not resolve: {_first_line(error)}")
            raise fault_of(error, bundle, files) or unplaced from error
    return parser


def fold_settings(bundle: Path, files: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as MONAI takes them, which sets no id that does not exist.

    What lies in a mapping that is empty in the YAML becomes a value of this mapping: ``{"a::b::c": 1}`` becomes
    ``{"a": {"b": {"c": 1}}}`` where the YAML says ``a: {}``. Raises InputError for a broken YAML file.
    """
    return _folded(_read(bundle, files), settings)


def settings_of_run(run: Path, split: bool = False) -> dict[str, Any]:
    """What the weights of a run must be used with, from its ``config.yaml``; empty where there is none.

    ``split``: with what its cases were split by, so that its own ``val`` and ``train`` are found again. Raises
    InputError where it is broken: weights that are used otherwise than they were trained err in silence.
    """
    if not (run / CONFIG).exists():
        return {}
    config = read_yaml(run / CONFIG)
    names = OF_WEIGHTS + OF_SPLIT if split else OF_WEIGHTS
    return {name: config[name] for name in names if name in config}


def _read(bundle: Path, files: Sequence[str]) -> ConfigParser:
    check_files(bundle, files)
    parser = ConfigParser()
    with inside(bundle):
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


def _known_ids(parser: ConfigParser, settings: Mapping[str, Any]) -> None:
    for name in settings:
        if name in parser:
            continue
        known = list(_ids(parser.get()))
        near = get_close_matches(name, known, n=1, cutoff=0.5) or [
            identity for identity in known if identity.rpartition("::")[2] == name.rpartition("::")[2]
        ]
        hint = f"did you mean {near[0]}?" if near else "the knobs stand at the top of the YAML"
        raise InputError(f"--set {name}: the configuration has no such id; {hint}")


def _plain_paths(values: Sequence[Any]) -> None:
    for value in values:
        if isinstance(value, str) and "#" in value and not value.startswith(("$", "@", "%")):
            raise InputError(f"{value}: MONAI would read # as :: and use another path; rename it without #")


def _ids(config: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(config, dict):
        for key, value in config.items():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
                yield from _ids(value, f"{prefix}{key}::")


def command_line(run_id: str, files: Sequence[str], values: Mapping[str, Any]) -> str:
    """The ``python -m monai.bundle`` line that does the same in the bundle's folder."""
    listed = files[0] if len(files) == 1 else "[" + ",".join(f"'{file}'" for file in files) + "]"
    words = ["python", "-m", "monai.bundle", "run", run_id, "--config_file", listed]
    for name, value in values.items():
        words += [f"--{name}", _spoken(value)]
    return " ".join(map(_quote, words))


def _spoken(value: Any) -> str:
    """A value as text that MONAI's command line, which is Fire's, reads back as the same value."""
    if value is None:
        return "$None"  # a bare None would be dropped
    if isinstance(value, float) and not math.isfinite(value):
        return f"$float('{value}')"
    text = str(value)
    # A string that Fire would take for a flag, a number, a list or a quoted string is quoted once more.
    taken = isinstance(value, str) and (text.startswith("-") or DefaultParseValue(text) != text)
    return repr(text) if taken else text


def say_command(bundle: Path, run_id: str, files: Sequence[str], values: Mapping[str, Any]) -> None:
    """Say the line for a shell that does the same without heartseg's command."""
    say(f"cd {_quote(str(bundle))} && {command_line(run_id, files, values)}")


def _quote(word: str) -> str:
    """Quoted for a shell; lists of names in double quotes, as people write them."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def run(bundle: Path, run_id: str, files: Sequence[str], values: Mapping[str, Any]) -> None:
    """What ``python -m monai.bundle run`` does, in this process: initialize, run, finalize.

    Raises InputError where bad input lies beneath an error of the run.
    """
    with inside(bundle), readable(bundle, files):
        workflow = ConfigWorkflow(
            list(files),
            meta_file="configs/metadata.json",
            logging_file="configs/logging.conf",
            run_id=run_id,
            **values,
        )
        workflow.initialize()
        if run_id == "training":
            # Macros and overlays resolved: what this run really was, for a later `monai.bundle run`.
            output_dir = Path(workflow.parser.get_parsed_content("output_dir"))
        if run_id == "training" and distributed.first():
            write_config(workflow.parser.get(), output_dir / NEXT_CONFIG)
        done = False
        try:
            workflow.run()
            done = True
        finally:
            if run_id == "training":  # `heartseg.training.ExactResume` has decided already, where there is one
                keep_config(output_dir, wanted=done)
        workflow.finalize()


def write_config(config: Mapping[str, Any], path: Path) -> None:
    """Write a composed configuration as YAML, for a later ``monai.bundle run`` and for `settings_of_run`."""
    with atomic(path) as temporary:
        ConfigParser.export_config_file(dict(config), temporary, fmt="yaml", sort_keys=False)


@contextmanager
def readable(bundle: Path | None = None, files: Sequence[str] = ()) -> Iterator[None]:
    """Raise the InputError beneath an error of MONAI, or what a bundle's configurations did wrong, instead of it."""
    try:
        yield
    except Exception as error:
        found = input_error(error) or (fault_of(error, bundle, files) if bundle else None)
        if found is None or found is error:
            raise
        raise found from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def say(text: str) -> None:
    """One line for the person, on standard error, so that results can be piped."""
    print(text, file=sys.stderr, flush=True)
