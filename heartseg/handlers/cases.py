"""An engine's handler that judges every case on its own grid and writes the result files."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from rich.console import Console
from rich.table import Table

from heartseg.data.files import atomic, provenance, read_cases_of, write_json
from heartseg.metrics.cases import METRICS, case_metrics, mean_metrics

COLUMNS = (*METRICS, "pred_ml", "truth_ml")
RESULTS = "evaluation_results.json"


class CaseMetrics:
    """Collect the metrics of each case of an evaluation and write ``evaluation_results.json`` and ``.csv``.

    Attach it to an evaluator whose postprocessing brings ``pred`` back to the scan's grid, with the untouched
    truth under ``label``. Distances use the spacing of the case's own affine. Cases that the weights were
    trained on (listed beside the weights, see `heartseg.data.files.read_cases_of`) are marked ``seen`` and
    averaged apart: the means stand for unseen cases wherever there is one. Where no such list lies beside the
    weights, ``seen`` is null.

    Args:
        output_dir: where the files go.
        classes: name and label value of each foreground class.
        weights: the weights that are judged; for ``seen`` and the provenance.
        tolerance: mm, of the normalised surface Dice.
        settings: whatever else should stand in the provenance, such as the configuration.
    """

    keys: ClassVar[Sequence[str]] = ()  # of what tells a case's rows apart, where it has several; see `rows`

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        classes: Mapping[str, int],
        weights: str | os.PathLike[str] | None = None,
        tolerance: float = 2.0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.classes = dict(classes)
        self.weights = weights
        self.tolerance = tolerance
        self.settings = dict(settings or {})
        self.cases: list[dict[str, Any]] = []
        self.seen: Collection[str] | None = ()

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.cases = []
        trained = read_cases_of(self.weights).get("train") if self.weights else ()
        self.seen = None if trained is None else set(trained)

    def _collect(self, engine: Engine) -> None:
        for entry, item in decollated(engine):
            pred, truth = item["pred"], item["label"]
            spacing = tuple(round(float(s), 6) for s in truth.pixdim)
            result = case_metrics(_map(pred), _map(truth), spacing, self.classes, self.tolerance)
            seen = None if self.seen is None else entry["id"] in self.seen
            self.collect(entry, {"id": entry["id"], "seen": seen, **result})

    def _write(self, engine: Engine) -> None:
        results = self.results()
        engine.state.metrics["mean_dice"] = results["clean"]["dice"]
        source = {**provenance(self.weights), "tolerance_mm": self.tolerance, **self.settings}
        write_json(self.output_dir / RESULTS, {**results, "provenance": source})
        with (
            atomic((self.output_dir / RESULTS).with_suffix(".csv")) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            table = csv.writer(file)
            table.writerow(["id", "seen", *self.keys, "class", *COLUMNS])
            for case, *values in self.rows():
                for name, row in case["classes"].items():
                    table.writerow([case["id"], case["seen"], *values, name, *(row[m] for m in COLUMNS)])
        self.show(results)

    def collect(self, entry: Mapping[str, Any], case: dict[str, Any]) -> None:
        """Keep the numbers of a case that the loader gave as ``entry``."""
        self.cases.append(case)

    def results(self) -> dict[str, Any]:
        """What is written beside the provenance."""
        return {"clean": summary(self.cases)}

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Each case that is written into the table, with the values of ``keys``."""
        yield from ((case,) for case in self.cases)

    def show(self, results: Mapping[str, Any]) -> None:
        """Print the results for people."""
        print_table(results["clean"])


def decollated(engine: Engine) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What the loader gave and what the engine made of it, case by case."""
    batch: Any = engine.state.batch
    output: Any = engine.state.output
    yield from zip(batch, output, strict=True)


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the unseen cases (over all where all were seen), with the cases themselves."""
    unseen = [case for case in cases if not case["seen"]]
    seen = [case for case in cases if case["seen"]]
    main = unseen or seen
    result = _means(main)
    unknown = any(case["seen"] is None for case in main)
    result["averaged_over"] = {"cases": len(main), "seen": None if unknown else not unseen and bool(seen)}
    if unseen and seen:
        result["seen"] = _means(seen)
    result["cases"] = cases
    return result


def _means(cases: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(cases[0]["classes"]) if cases else []
    return {
        **mean_metrics(cases),
        "missing": sum(case["missing"] for case in cases),
        "classes": {name: mean_metrics([case["classes"][name] for case in cases], COLUMNS) for name in names},
    }


def print_table(clean: Mapping[str, Any]) -> None:
    """The table of an evaluation, for the terminal."""
    table = Table(title="Cases on their own grids (distances in mm)")
    for column in ("case", "seen", "Dice", "HD95", "ASSD", "NSD", "mask mL", "truth mL"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for case in clean["cases"]:
        volumes = [sum(row[key] for row in case["classes"].values()) for key in ("pred_ml", "truth_ml")]
        table.add_row(case["id"], "yes" if case["seen"] else "", *_cells(case), *(f"{v:.1f}" for v in volumes))
    table.add_section()
    over = clean["averaged_over"]
    words = {True: "seen", False: "unseen", None: "(seen or not: unknown)"}
    table.add_row(f"mean of {over['cases']} {words[over['seen']]}", "", *_cells(clean), "", "")
    if "seen" in clean:
        table.add_row("mean of the seen", "yes", *_cells(clean["seen"]), "", "")
    Console().print(table)


def _cells(row: Mapping[str, Any]) -> list[str]:
    digits = {"dice": 4, "hd95": 2, "assd": 2, "nsd": 4}
    return ["missing" if row[m] is None else f"{row[m]:.{d}f}" for m, d in digits.items()]


def _map(image: MetaTensor) -> torch.Tensor:
    """A channel-first label map ``[1, x, y, z]`` without its channel, as plain integers."""
    return image.as_tensor()[0].round().to(torch.int32).cpu()
