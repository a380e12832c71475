"""What several commands share: options, what --set and --run say, and a run of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from heartseg.errors import InputError

# What a command needs is imported when it runs: `heartseg --help` answers at once.
Bundle = Annotated[str, typer.Argument(help="Name of a bundle, such as left_atrium, or the path of its folder.")]
Labelled = Annotated[Path, typer.Option(help="Data set in Decathlon layout or ACDC's own, with labels.")]
Split = Annotated[str, typer.Option(help="all, or the train or val part of the fold; with --run, of the run's own.")]
Overlays = Annotated[
    list[str] | None,
    typer.Option("--overlay", metavar="NAME", help="Lay configs/NAME.yaml over the base; may be repeated."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="ID=VALUE", help="Change one id of the YAML, as in epochs=2; may be repeated."),
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
    """Say the ``python -m monai.bundle`` line and do what it does.

    Args:
        bundle, run_id, configs: names of the bundle, of the run, and of its configurations, the base first.
        set_: what --set says; it counts more than the rest.
        paths, values: ids that the command's own options set; None leaves the YAML's value.
        weights_of: the folder of the training run whose weights are used.

    Raises InputError for whatever is wrong with any of it, if possible before anything runs.
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
    compose(folder, files, settings, own)  # only to refuse what is wrong before anything runs
    own = {**own, **fold_settings(folder, files, settings)}
    say_command(folder, run_id, files, own)
    run(folder, run_id, files, own)


def read_settings(set_: list[str] | None, run: Path | None = None, split: bool = False) -> dict[str, Any]:
    """What --set says; with a run, on top of what its weights need and, with ``split``, its cases were split by.

    Paths mean what they mean in the shell.
    """
    from heartseg.config.composition import parse_settings, settings_of_run
    from heartseg.config.values import PATHS

    settings = parse_settings(set_ or [])
    for name in PATHS:
        if isinstance(value := settings.get(name), str) and not value.startswith(("$", "@", "%")):
            settings[name] = str(Path(value).absolute())
    return {**(settings_of_run(run, split) if run else {}), **settings}


def choose_weights(run: Path | None, weights: Path | None) -> Path | None:
    """The weights that --run or --weights name, None for the shipped ones. InputError for both and for an empty run."""
    if run is not None and weights is not None:
        raise InputError("--run and --weights: both name weights; give one of them")
    if run is not None and not (run / "model.pt").is_file():
        raise InputError(f"{run}: holds no model.pt; name the folder of a training run that has validated once")
    return run / "model.pt" if run is not None else weights
