"""An engine's handler that judges every case on its own grid and writes the result files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from heartseg import distributed
from heartseg.data.acdc import PHASES
from heartseg.data.files import provenance, read_cases_of, write_json
from heartseg.data.layout import patient_of
from heartseg.data.nominal_spacing import is_nominal
from heartseg.errors import InputError
from heartseg.machine import memory, peak_memory
from heartseg.metrics.case_metrics import FRACTIONS, METRICS, case_metrics, mean_metrics
from heartseg.metrics.patients import Frame, find_phases
from heartseg.results.evaluation_files import RESULTS
from heartseg.results.tables import VOLUMES, print_table, write_table

COLUMNS = (*METRICS, *VOLUMES)


class CaseMetrics:
    """Collect the metrics of each case of an evaluation and write ``evaluation_results.json`` and ``.csv``.

    Attach it to an evaluator whose postprocessing brings ``pred`` back to the scan's grid, with the untouched
    truth under ``label``. Distances use the spacing of the case's own affine. Cases that the weights were
    trained on (listed beside the weights, see `heartseg.data.files.read_cases_of`) are marked ``seen`` and
    averaged apart: the means stand for unseen cases wherever there is one. Where no such list lies beside the
    weights, ``seen`` is null. Of several processes the first writes what all have judged.

    Beside the results stand the ``provenance`` and ``memory_gib``: what the program has in use ``now``, at the end,
    and its ``peak`` (`heartseg.machine.memory`, `peak_memory`).

    Args:
        output_dir: where the files go.
        classes: name and label value of each foreground class.
        weights: the weights that are judged; for ``seen`` and the provenance.
        tolerance: mm, of the normalised surface Dice.
        settings: whatever else should stand in the provenance, such as the configuration.
        phases: the class whose volume tells the heart's phases, the left ventricle; None for what does not beat.
            Each case then has its ``patient``, ``phase`` ("ED", "ES" or null: what the loader gave, else see
            `heartseg.metrics.patients.find_phases`, by the truth) and ``group`` if there is one, and the means of
            each phase stand under ``phases``.
        nominal_spacing: mm per axis. Each case then has ``nominal``: whether its header is made up, so that its mm
            and mL are nominal (`heartseg.data.nominal_spacing.is_nominal`).

    Raises InputError where ``phases`` is no class.
    """

    keys: ClassVar[Sequence[str]] = ()  # of what tells a case's rows apart, where it has several; see `rows`

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        classes: Mapping[str, int],
        weights: str | os.PathLike[str] | None = None,
        tolerance: float = 2.0,
        settings: Mapping[str, Any] | None = None,
        phases: str | None = None,
        nominal_spacing: Sequence[float] | None = None,
    ) -> None:
        if phases is not None and phases not in classes:
            raise InputError(f"phases: {phases!r} is no class; there are: {', '.join(classes)}")
        self.output_dir = Path(output_dir)
        self.classes = dict(classes)
        self.weights = weights
        self.tolerance = tolerance
        self.settings = dict(settings or {})
        self.phases = phases
        self.nominal_spacing = nominal_spacing
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
        self.seen = None if trained is None else set(map(patient_of, trained))

    def _collect(self, engine: Engine) -> None:
        for entry, item in decollated(engine):
            pred, truth = item["pred"], item["label"]
            spacing = tuple(round(float(s), 6) for s in truth.pixdim)
            result = case_metrics(_map(pred), _map(truth), spacing, self.classes, self.tolerance)
            # Any frame of a patient is seen where one was, whatever the copy of the data set calls it.
            seen = None if self.seen is None else patient_in(entry) in self.seen
            self.collect(entry, {"id": entry["id"], "seen": seen, **self._about(entry, truth), **result})

    def _about(self, entry: Mapping[str, Any], truth: MetaTensor) -> dict[str, Any]:
        known: dict[str, Any] = {}
        if self.phases:
            known = {"patient": patient_in(entry), "phase": entry.get("phase")}
            known |= {"group": entry["group"]} if "group" in entry else {}
        if self.nominal_spacing is not None:
            known["nominal"] = is_nominal(truth.affine, self.nominal_spacing, truth.meta.get("filename_or_obj"))
        return known

    def _write(self, engine: Engine) -> None:
        self.gather()
        results = self.results()
        engine.state.metrics["mean_dice"] = results["clean"]["dice"]
        if not distributed.is_first():
            return
        source = {**provenance(self.weights), "tolerance_mm": self.tolerance, **self.settings}
        used = {"memory_gib": memory_gib(getattr(engine.state, "device", "cpu"))}
        write_json(self.output_dir / RESULTS, {**results, **used, "provenance": source})
        about = ["patient", "phase"] if self.phases else []
        about += ["nominal"] if self.nominal_spacing is not None else []
        write_table(
            (self.output_dir / RESULTS).with_suffix(".csv"),
            ["id", "seen", *about, *self.keys, "class", *COLUMNS],
            (
                [case["id"], case["seen"], *(case[key] for key in about), *values, name, *(row[m] for m in COLUMNS)]
                for case, *values in self.rows()
                for name, row in case["classes"].items()
            ),
        )
        self.show(results)

    def collect(self, entry: Mapping[str, Any], case: dict[str, Any]) -> None:
        """Keep the numbers of a case that the loader gave as ``entry``."""
        self.cases.append(case)

    def gather(self) -> None:
        """Bring together the cases that several processes judged (`heartseg.distributed`)."""
        self.cases = distributed.gather(self.cases)

    def results(self) -> dict[str, Any]:
        """What is written beside the provenance."""
        return {"clean": summary(self.cases, self.phases)}

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


def memory_gib(device: torch.device | str) -> dict[str, dict[str, float]]:
    """GiB that the program has in use ``now`` and its ``peak`` so far: ``process`` and, on CUDA, ``gpu``."""
    found = {"now": memory(device), "peak": peak_memory(device)}
    return {when: {name: round(used[name], 3) for name in found["peak"]} for when, used in found.items()}


def patient_in(entry: Mapping[str, Any]) -> str:
    """The patient of a case that a loader gave: as it says, else by the case's id."""
    return str(entry.get("patient", patient_of(entry["id"])))


def summary(cases: list[dict[str, Any]], phases: str | None = None) -> dict[str, Any]:
    """Means over the unseen cases (over all where all were seen), with the cases themselves.

    With the class that tells the ``phases``, each case is given its phase, and each phase has means of its own.
    """
    unseen = [case for case in cases if not case["seen"]]
    seen = [case for case in cases if case["seen"]]
    main = unseen or seen
    result = _means(main)
    unknown = any(case["seen"] is None for case in main)
    result["averaged_over"] = {"cases": len(main), "seen": None if unknown else not unseen and bool(seen)}
    if any("nominal" in case for case in main):
        result["averaged_over"]["nominal"] = sum(case["nominal"] for case in main)
    if unseen and seen:
        result["seen"] = _means(seen)
    if phases:
        frames = [
            Frame(case["id"], case["patient"], {phases: case["classes"][phases]["truth_ml"]}, case["phase"])
            for case in cases
        ]
        known = find_phases(frames, phases)
        for case in cases:
            case["phase"] = known.get(case["id"])
        result["phases"] = {phase: _means([case for case in main if case["phase"] == phase]) for phase in PHASES}
    result["cases"] = cases
    return result


def _means(cases: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(cases[0]["classes"]) if cases else []
    return {
        **mean_metrics(cases, (*METRICS, *FRACTIONS)),
        "missing": sum(case["missing"] for case in cases),
        "classes": {name: mean_metrics([case["classes"][name] for case in cases], COLUMNS) for name in names},
    }


def _map(image: MetaTensor) -> torch.Tensor:
    """A channel-first label map ``[1, x, y, z]`` without its channel, as plain integers."""
    return image.as_tensor()[0].round().to(torch.int32).cpu()
