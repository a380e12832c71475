"""Shared by several commands: their options, the settings of --set and --run, and running a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from heartseg.errors import InputError

# Commands import what they need when they run, so that `heartseg --help` is fast.
Bundle = Annotated[str, typer.Argument(help="Name of a bundle, such as left_atrium, or the path of its folder.")]
Labelled = Annotated[Path, typer.Option(help="Labelled data set in Decathlon or ACDC layout.")]
Split = Annotated[
    str, typer.Option(help="all; train or val of the fold (with --run, of the run's fold); or test, of the data set.")
]
Overlays = Annotated[
    list[str] | None,
    typer.Option("--overlay", metavar="NAME", help="Apply the overlay configs/NAME.yaml; may be repeated."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="ID=VALUE", help="Change one id of the YAML, such as epochs=2; may be repeated."),
]
Run = Annotated[Path | None, typer.Option("--run", help="Use the best weights of this training run.")]
Weights = Annotated[Path | None, typer.Option("--weights", help="Use this state dict instead of the shipped weights.")]


def run_bundle(
    bundle: str,
    run_id: str,
    configs: list[str],
    set_: list[str] | None,
    paths: dict[str, Path | None],
    values: dict[str, Any],
    weights_of: Path | None = None,
) -> None:
    """Print the equivalent ``python -m monai.bundle`` line and run the bundle.

    Args:
        bundle, run_id, configs: names of the bundle, of the run, and of its configurations, the base first.
        set_: values of --set; they take precedence.
        paths, values: ids set by the command's own options; None keeps the YAML's value.
        weights_of: folder of the training run whose weights are used.

    Raises InputError for any invalid input, if possible before anything runs.
    """
    from heartseg.config.bundle_runs import run
    from heartseg.config.bundles import config_files, find_bundle
    from heartseg.config.command_lines import say_command
    from heartseg.config.composition import compose, fold_settings

    settings = read_settings(set_, weights_of, values.get("split") in ("train", "val"))
    folder = find_bundle(bundle)
    own = {name: str(path.absolute()) for name, path in paths.items() if path is not None}
    own.update({name: value for name, value in values.items() if value is not None})
    base, *overlays = configs
    files = config_files(folder, base, overlays)
    with blamed_on(weights_of, set_):
        compose(folder, files, settings, own)  # raises InputError for faults before anything runs
    own = {**own, **fold_settings(folder, files, settings)}
    say_command(folder, run_id, files, own)
    run(folder, run_id, files, own)


def read_settings(set_: list[str] | None, run: Path | None = None, split: bool = False) -> dict[str, Any]:
    """Return the values of --set, and with a run the settings that its weights need; those of --set take precedence.

    With ``split``, the settings of the run's split are included. Paths are relative to the working folder.
    """
    from heartseg.config.composition import parse_settings, settings_of_run
    from heartseg.config.values import PATHS

    settings = parse_settings(set_ or [])
    for name in PATHS:
        if isinstance(value := settings.get(name), str) and not value.startswith(("$", "@", "%")):
            settings[name] = str(Path(value).absolute())
    return {**(settings_of_run(run, split) if run else {}), **settings}


@contextmanager
def blamed_on(run: Path | None, set_: list[str] | None) -> Iterator[None]:
    """Name the run's file in an error of a setting that comes from there, and not from --set."""
    try:
        yield
    except InputError as error:
        option, _, rest = str(error).partition(": ")
        typed = {setting.partition("=")[0].strip() for setting in set_ or []}
        name = option.removeprefix("--set ")
        if run is None or name == option or name in typed:
            raise
        fault = f"{run / 'config.yaml'}: {name}: {rest}"
        raise InputError(f"{fault}; this configuration must take what the weights need") from None


def choose_weights(run: Path | None, weights: Path | None) -> Path | None:
    """Return the weights given by --run or --weights, or None for the shipped ones.

    Raises InputError if both are given, or if the run has no weights.
    """
    if run is not None and weights is not None:
        raise InputError("--run and --weights: both give weights; use one of them")
    if run is not None and not run.exists():
        raise InputError(f"{run}: there is no such folder; give the folder of a run")
    if run is not None and not (run / "model.pt").is_file():
        raise InputError(f"{run}: holds no model.pt; give the folder of a run that has completed a validation")
    return run / "model.pt" if run is not None else weights
