"""The commands that evaluate weights under artifacts, compare evaluations and draw artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartseg.cli.options import Bundle, Labelled, Overlays, Run, Settings, Split, Weights, choose_weights, run_bundle
from heartseg.cli.outputs import FILE, FOLDER


def robustness(
    bundle: Bundle,
    data: Labelled,
    out: Annotated[Path, typer.Option(help="Folder for evaluation_results.json, .csv and pictures.", **FOLDER)],
    artifact: Annotated[
        list[str] | None,
        typer.Option("--artifact", metavar="NAME", help="Only this artifact, such as motion; may be repeated."),
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option(help="Only mild, moderate or severe, or a number: the artifact's first strength."),
    ] = None,
    split: Split = "all",
    run: Run = None,
    weights: Weights = None,
    overlay: Overlays = None,
    set_: Settings = None,
) -> None:
    """Evaluate weights as evaluate does, clean and under each MRI artifact at three severities.

    Example: heartseg robustness left_atrium --data Task02_Heart --artifact motion --severity 10 --out robust
    """
    paths = {"dataset_dir": data, "output_dir": out, "weights": choose_weights(run, weights)}
    values = {"split": split, "artifacts": artifact or None, "severity": _number(severity)}
    run_bundle(bundle, "robustness", ["inference", "robustness", *(overlay or [])], set_, paths, values, run)
    print(f"results: {out / 'evaluation_results.json'}")
    print(f"pictures: {out / 'robustness.png'}, {out / 'pictures'}")


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="An evaluation: its folder or its evaluation_results.json.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another evaluation of the same cases.")],
    out: Annotated[Path, typer.Option(help="Folder for comparison.json, .csv and .png.", **FOLDER)] = Path(
        "comparison"
    ),
    metric: Annotated[
        str | None,
        typer.Option(help="Metric to show, such as dice or hd95; default: the first. The files hold all metrics."),
    ] = None,
) -> None:
    """Compare two evaluations case by case, with a paired test (Wilcoxon signed-rank).

    Robustness evaluations are also compared under every artifact that both have.

    Example: heartseg compare evaluations/one evaluations/two --metric hd95 --out comparison
    """
    from heartseg.report.comparison_figure import draw_comparison
    from heartseg.report.figures import save
    from heartseg.results.comparison import compare_evaluations, print_comparison, write_comparison
    from heartseg.results.evaluation_files import read_evaluation

    comparison = compare_evaluations(read_evaluation(a), read_evaluation(b))
    figure = draw_comparison(comparison, metric)  # refuses an unknown metric before anything is written
    write_comparison(comparison, out)
    save(figure, out / "comparison.png")
    print_comparison(comparison, metric)
    print(f"results: {out / 'comparison.json'}")
    print(f"picture: {out / 'comparison.png'}")


def gallery(
    scan: Annotated[Path | None, typer.Argument(help="A NIfTI scan; default: a phantom.")] = None,
    out: Annotated[Path, typer.Option(help="Picture to write, such as gallery.png.", **FILE)] = Path("gallery.png"),
    artifact: Annotated[
        list[str] | None,
        typer.Option("--artifact", metavar="NAME", help="Only this artifact, such as motion; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed of the artifacts.")] = 0,
) -> None:
    """Draw a scan under each MRI artifact: mild, moderate and severe.

    Example: heartseg gallery scan.nii.gz --artifact motion --out motion.png
    """
    from rich.console import Console
    from rich.progress import track

    from heartseg.artifacts.severity import find_artifact
    from heartseg.report.figures import check_picture
    from heartseg.report.gallery import draw_gallery, read_scan

    check_picture(out)
    for name in artifact or ():
        find_artifact(name)  # raises InputError for unknown names before the scan is read
    console = Console(stderr=True)
    draw_gallery(read_scan(scan), out, artifact, seed, lambda rows: track(rows, "artifacts", console=console))
    print(f"picture: {out}")


def _number(text: str | None) -> str | float | None:
    """Return a severity as a number if it is one, else unchanged."""
    try:
        value = float(text or "")
    except ValueError:
        return text
    return int(value) if value.is_integer() else value
