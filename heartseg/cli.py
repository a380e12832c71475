"""The command line: a thin door to bundles. Each command prints the ``python -m monai.bundle`` line it stands for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from heartseg.errors import InputError, input_error

# What a command needs is imported when it runs: `heartseg --help` answers at once.
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    help="Segment the heart in MRI. A system is a MONAI bundle in YAML; these commands run it.\n\n"
    "Begin with [bold]heartseg demo[/bold], or, with a scan, "
    "[bold]heartseg segment left_atrium scan.nii.gz --out masks[/bold].",
)
data_app = typer.Typer(no_args_is_help=True, help="Fetch data sets.")
app.add_typer(data_app, name="data")

Bundle = Annotated[str, typer.Argument(help="Name of a bundle, such as left_atrium, or the path of its folder.")]
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


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Where the demonstration goes.")] = Path("demo")) -> None:
    """Phantom scans, a short training, evaluation, masks and a picture: no download, no GPU, a few minutes."""
    from heartseg.demo import run_demo

    run_demo(out)


@app.command()
def train(
    bundle: Bundle,
    data: Annotated[Path, typer.Option(help="Data set in Decathlon layout: imagesTr, labelsTr.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: a new one in the bundle.")] = None,
    overlay: Overlays = None,
    set_: Settings = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="State dict to start from.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Stop, validate and save after so many minutes.")
    ] = None,
    download: Annotated[bool, typer.Option(help="Fetch Task02_Heart first where DATA is missing.")] = False,
) -> None:
    """Train a bundle. The run's folder then holds model.pt (best weights), curves.png, run_summary.md and logs.

    Example: heartseg train left_atrium --data Task02_Heart --overlay cpu --set epochs=60 --out runs/mine
    """
    paths = {"dataset_dir": data, "output_dir": out, "initial_weights": weights}
    values = {"max_minutes": max_minutes, "download": True if download else None}
    _run(bundle, "training", ["train", *(overlay or [])], set_, paths, values)


@app.command()
def segment(
    bundle: Bundle,
    inputs: Annotated[list[Path], typer.Argument(help="NIfTI scans, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    overwrite: Annotated[bool, typer.Option(help="Segment again where a mask exists.")] = False,
    run: Run = None,
    weights: Weights = None,
    overlay: Overlays = None,
    set_: Settings = None,
) -> None:
    """Write a mask for each scan, on the scan's own grid, as OUT/NAME.nii.gz, and print its volume in mL.

    Goes on past a scan that cannot be segmented and ends with status 2. Masks that exist are skipped.
    """
    from heartseg.segmenting import segment_scans

    settings = _settings(set_, run)
    paths = {"inputs": [str(path.resolve()) for path in inputs], "output_dir": str(out.resolve())}
    failed = segment_scans(bundle, inputs, out, overwrite, _weights(run, weights), overlay or [], settings, paths)
    raise typer.Exit(2 if failed else 0)


@app.command()
def evaluate(
    bundle: Bundle,
    data: Annotated[Path, typer.Option(help="Data set in Decathlon layout, with labels.")],
    out: Annotated[Path, typer.Option(help="Folder for evaluation_results.json and .csv and the pictures.")],
    split: Annotated[str, typer.Option(help="all, or the train or val part of the fold.")] = "all",
    run: Run = None,
    weights: Weights = None,
    overlay: Overlays = None,
    set_: Settings = None,
) -> None:
    """Judge weights on labelled cases: Dice, surface distances in mm and volumes, each case on its own grid."""
    paths = {"dataset_dir": data, "output_dir": out, "weights": _weights(run, weights)}
    _run(bundle, "evaluating", ["inference", "evaluate", *(overlay or [])], set_, paths, {"split": split}, run)
    print(f"results: {out / 'evaluation_results.json'}")
    print(f"pictures: {out / 'pictures'}")


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="A data set in Decathlon layout, or a folder of scans.")],
    labels: Annotated[str | None, typer.Option(help="Label values that may occur, as in 0,1.")] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Also compare headers with the anatomy, by this bundle's pose network.")
    ] = None,
) -> None:
    """Say what is wrong with a data set, a line for each fault; status 2 where there is one."""
    from rich.console import Console
    from rich.progress import track

    from heartseg.data.checks import check_dataset

    try:
        values = [int(value) for value in labels.split(",")] if labels else None
    except ValueError:
        raise InputError(f"--labels {labels}: is no list of whole numbers, as in 0,1") from None
    err = Console(stderr=True)
    report = check_dataset(data, values, lambda cases: track(cases, "checking", console=err, transient=True))
    if bundle is not None:
        from heartseg.bundle import find_bundle
        from heartseg.data.anatomy import check_poses

        sound = [case for case in report.cases if not case.errors]
        weights = find_bundle(bundle) / "models" / "pose.pt"
        for case, warning in check_poses(track(sound, "reading poses", console=err, transient=True), weights):
            case.warnings.append(warning)
    for line in report.lines():
        print(line)
    for warning in report.all_warnings:
        print(f"warning: {warning}")
    for fault in report.all_errors:
        print(f"error: {fault}")
    print(f"{len(report.all_errors)} errors, {len(report.all_warnings)} warnings")
    raise typer.Exit(2 if report.all_errors else 0)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for the data set.")],
    kind: Annotated[str, typer.Option(help="What to draw: atrium.")] = "atrium",
    cases: Annotated[int, typer.Option(help="Labelled cases; a quarter more come without label.")] = 8,
    seed: Annotated[int, typer.Option(help="The same seed draws the same phantoms.")] = 0,
    size: Annotated[str, typer.Option(help="full, or small for quick trials.")] = "full",
) -> None:
    """Draw a seeded synthetic data set in the layout that a bundle reads."""
    from heartseg.data.phantom import write_phantoms

    print(f"phantoms: {write_phantoms(out, kind=kind, cases=cases, seed=seed, size=size)}")


@data_app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="Data set: task02 (Decathlon Task02_Heart, 435 MB).")],
    out: Annotated[Path, typer.Option(help="Folder that will hold it.")],
) -> None:
    """Download a data set with progress and checksum; a download that was cut off goes on."""
    from heartseg.data.download import fetch as fetch_data

    print(f"data: {fetch_data(name, out)}")


def _run(
    bundle: str,
    run_id: str,
    configs: list[str],
    set_: list[str] | None,
    paths: dict[str, Path | None],
    values: dict[str, Any],
    weights_of: Path | None = None,
) -> None:
    from heartseg.bundle import compose, config_files, find_bundle, run, say_command

    settings = _settings(set_, weights_of)
    folder = find_bundle(bundle)
    own = {name: str(path.resolve()) for name, path in paths.items() if path is not None}
    own.update({name: value for name, value in values.items() if value is not None})
    base, *overlays = configs
    files = config_files(folder, base, overlays)
    compose(folder, files, settings, own)  # only to refuse what is wrong before anything runs
    own = {**own, **settings}
    say_command(folder, run_id, files, own)
    run(folder, run_id, files, own)


def _settings(set_: list[str] | None, run: Path | None = None) -> dict[str, Any]:
    """What --set says; with a run, on top of what its weights need. Paths mean what they mean in the shell."""
    from heartseg.bundle import PATHS, parse_settings, settings_of_run

    settings = parse_settings(set_ or [])
    for name in PATHS:
        if isinstance(value := settings.get(name), str) and not value.startswith(("$", "@", "%")):
            settings[name] = str(Path(value).absolute())
    return {**(settings_of_run(run) if run else {}), **settings}


def _weights(run: Path | None, weights: Path | None) -> Path | None:
    if run is not None and weights is not None:
        raise InputError("--run and --weights: both name weights; give one of them")
    if run is not None and not (run / "model.pt").is_file():
        raise InputError(f"{run}: holds no model.pt; name the folder of a training run that has validated once")
    return run / "model.pt" if run is not None else weights


def main() -> None:
    """Run the command line; bad input ends it with one line and status 2."""
    try:
        app()
    except Exception as error:
        found = input_error(error)
        if found is None:
            raise
        print(f"heartseg: {found}", file=sys.stderr)
        raise SystemExit(2) from None
