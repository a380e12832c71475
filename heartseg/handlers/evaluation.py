"""Handlers that evaluate every case and write the result files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.utils import convert_to_tensor

from heartseg import distributed
from heartseg.data.acdc import PHASES
from heartseg.data.files import provenance, read_cases_of, writable_folder, write_json
from heartseg.data.layout import patient_of
from heartseg.data.nominal_spacing import is_nominal
from heartseg.errors import InputError
from heartseg.machine import memory, peak_memory
from heartseg.metrics.case_metrics import FRACTIONS, METRICS, case_metrics, mean_metrics
from heartseg.metrics.patients import Frame, find_phases
from heartseg.results.evaluation_files import RESULTS
from heartseg.results.tables import VOLUMES, print_table, write_table


class CaseResults:
    """Collect numbers of each case of an evaluation and write ``evaluation_results.json`` and ``.csv``.

    What the numbers are, a subclass says: `measure` a case, and take `means` over cases. Cases that the weights were
    trained on (listed beside the weights, see `heartseg.data.files.read_cases_of`) are marked ``seen`` and averaged
    separately: the means are over unseen cases if there are any. Without such a list ``seen`` is null. Of several
    processes the first writes what all have evaluated.

    The file also holds the ``provenance`` and ``memory_gib``: what the program has in use ``now``, at the end, and its
    ``peak`` (`heartseg.machine.memory`, `peak_memory`).

    Args:
        output_dir: where the files go.
        weights: the weights that are evaluated; for ``seen`` and the provenance.
        settings: what else belongs in the provenance, such as the configuration.
    """

    about: Sequence[str] = ()  # keys of a case that are columns of the table
    columns: Sequence[str] = ()  # keys of a case's class that are columns of the table
    keys: ClassVar[Sequence[str]] = ()  # columns that distinguish the rows of a case, see `rows`

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        weights: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.weights = weights
        self.settings = dict(settings or {})
        self.cases: list[dict[str, Any]] = []
        self.seen: Collection[str] | None = ()

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def measure(self, entry: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers of a case and of its ``classes``; ``entry`` is the loader's, ``item`` the engine's."""
        raise NotImplementedError

    def means(self, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the numbers of several cases together."""
        raise NotImplementedError

    def summary(self, cases: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the means over the unseen cases (over all if all were seen), with the cases themselves."""
        unseen = [case for case in cases if not case["seen"]]
        seen = [case for case in cases if case["seen"]]
        main = unseen or seen
        unknown = any(case["seen"] is None for case in main)
        result = self.means(main)
        result["averaged_over"] = {"cases": len(main), "seen": None if unknown else not unseen and bool(seen)}
        if any("nominal" in case for case in main):
            result["averaged_over"]["nominal"] = sum(case["nominal"] for case in main)
        if unseen and seen:
            result["seen"] = self.means(seen)
        return {**result, **self.subgroups(cases, main), "cases": cases}

    def subgroups(self, cases: list[dict[str, Any]], main: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return means of some of the cases, by name; none here."""
        return {}

    def collect(self, entry: Mapping[str, Any], case: dict[str, Any]) -> None:
        """Keep the numbers of a case that the loader gave as ``entry``."""
        self.cases.append(case)

    def gather(self) -> None:
        """Bring together the cases of several processes (`heartseg.distributed`)."""
        self.cases = distributed.gather(self.cases)

    def results(self) -> dict[str, Any]:
        """Return what is written beside the provenance."""
        return {"clean": self.summary(self.cases)}

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield each case that is written into the table, with the values of ``keys``."""
        yield from ((case,) for case in self.cases)

    def show(self, results: Mapping[str, Any]) -> None:
        """Print the results."""
        print_table(results["clean"])

    def _start(self, engine: Engine) -> None:
        writable_folder(self.output_dir)  # now, not after hours of evaluation
        self.cases = []
        trained = read_cases_of(self.weights).get("train") if self.weights else ()
        self.seen = None if trained is None else set(map(patient_of, trained))

    def _collect(self, engine: Engine) -> None:
        for entry, item in decollated(engine):
            # Any frame of a patient is seen if one was, whatever a copy of the data set calls it.
            seen = None if self.seen is None else patient_in(entry) in self.seen
            self.collect(entry, {"id": entry["id"], "seen": seen, **self.measure(entry, item)})

    def _write(self, engine: Engine) -> None:
        self.gather()
        results = self.results()
        numbers = {f"mean_{name}": value for name, value in results["clean"].items() if isinstance(value, float)}
        engine.state.metrics.update(numbers)
        if not distributed.is_first():
            return
        source = {**provenance(self.weights), **self.settings}
        used = {"memory_gib": memory_gib(getattr(engine.state, "device", "cpu"))}
        write_json(self.output_dir / RESULTS, {**results, **used, "provenance": source})
        write_table(
            (self.output_dir / RESULTS).with_suffix(".csv"),
            ["id", "seen", *self.about, *self.keys, "class", *self.columns],
            (
                [case["id"], case["seen"], *(case[key] for key in self.about), *values, name]
                + [row[column] for column in self.columns]
                for case, *values in self.rows()
                for name, row in case["classes"].items()
            ),
        )
        self.show(results)


class CaseMetrics(CaseResults):
    """`CaseResults` of masks: the metrics of `heartseg.metrics.case_metrics`, for each case on its own grid.

    Attach it to an evaluator whose postprocessing brings ``pred`` back to the scan's grid, with the untouched truth
    under ``label``. Distances use the spacing of the case's own affine.

    Args:
        output_dir, weights, settings: see `CaseResults`.
        classes: name and label value of each foreground class.
        tolerance: mm, of the normalised surface Dice.
        phases: the class whose volume decides the heart's phases, the left ventricle; None for what does not beat.
            Each case then has its ``patient``, ``phase`` ("ED", "ES" or null: what the loader gave, else see
            `heartseg.metrics.patients.find_phases`, by the truth) and ``group`` if there is one, and the means of
            each phase are under ``phases``.
        nominal_spacing: mm per axis. Each case then has ``nominal``: whether its header is made up, so that its mm
            and mL are nominal (`heartseg.data.nominal_spacing.is_nominal`).

    Raises InputError if ``phases`` is not a class.
    """

    columns = (*METRICS, *VOLUMES)

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
            raise InputError(f"phases: {phases!r} is not a class; there are: {', '.join(classes)}")
        super().__init__(output_dir, weights, {"tolerance_mm": tolerance, **(settings or {})})
        self.classes = dict(classes)
        self.tolerance = tolerance
        self.phases = phases
        self.nominal_spacing = nominal_spacing
        self.about = [*(["patient", "phase"] if phases else []), *([] if nominal_spacing is None else ["nominal"])]

    def measure(self, entry: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics of a mask against its truth."""
        truth: MetaTensor = item["label"]
        known: dict[str, Any] = {}
        if self.phases:
            known = {"patient": patient_in(entry), "phase": entry.get("phase")}
            known |= {"group": entry["group"]} if "group" in entry else {}
        if self.nominal_spacing is not None:
            known["nominal"] = is_nominal(truth.affine, self.nominal_spacing, truth.meta.get("filename_or_obj"))
        spacing = tuple(round(float(s), 6) for s in truth.pixdim)
        maps = label_map(item["pred"]), label_map(truth)
        return {**known, **case_metrics(*maps, spacing, self.classes, self.tolerance)}

    def means(self, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the mean of each metric, and of each metric of each class."""
        names = list(cases[0]["classes"]) if cases else []
        return {
            **mean_metrics(cases, (*METRICS, *FRACTIONS)),
            "missing": sum(case["missing"] for case in cases),
            "classes": {name: mean_metrics([case["classes"][name] for case in cases], self.columns) for name in names},
        }

    def subgroups(self, cases: list[dict[str, Any]], main: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the means of each phase, having found the phase of each case; nothing for what does not beat."""
        if not self.phases:
            return {}
        own = self.phases
        frames = [
            Frame(case["id"], case["patient"], {own: case["classes"][own]["truth_ml"]}, case["phase"]) for case in cases
        ]
        known = find_phases(frames, own)
        for case in cases:
            case["phase"] = known.get(case["id"])
        return {"phases": {phase: self.means([case for case in main if case["phase"] == phase]) for phase in PHASES}}


def decollated(engine: Engine) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield what the loader gave and what the engine made of it, case by case."""
    batch: Any = engine.state.batch
    output: Any = engine.state.output
    yield from zip(batch, output, strict=True)


def memory_gib(device: torch.device | str) -> dict[str, dict[str, float]]:
    """Return GiB that the program has in use ``now`` and its ``peak``: ``process`` and, on CUDA, ``gpu``."""
    found = {"now": memory(device), "peak": peak_memory(device)}
    return {when: {name: round(used[name], 3) for name in found["peak"]} for when, used in found.items()}


def patient_in(entry: Mapping[str, Any]) -> str:
    """Return the patient of a case that a loader gave: as it says, else by the case's id."""
    return str(entry.get("patient", patient_of(entry["id"])))


def label_map(mask: torch.Tensor) -> torch.Tensor:
    """Return a label map ``[1, x, y, z]`` or a one-hot mask ``[c, x, y, z]`` without channels, as plain integers."""
    plain = convert_to_tensor(mask.detach()).cpu()
    return (plain.argmax(0) if len(plain) > 1 else plain[0].float().round()).to(torch.int32)
