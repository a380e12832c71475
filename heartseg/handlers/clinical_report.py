"""Handler for the clinical numbers of an evaluation: volumes, ejection fractions and mass of each patient."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from rich.console import Console
from rich.table import Table

from heartseg import distributed
from heartseg.data.files import write_json
from heartseg.data.nominal_spacing import is_nominal
from heartseg.handlers.evaluation import decollated, patient_in
from heartseg.metrics.clinical import MYOCARDIAL_DENSITY
from heartseg.metrics.patients import MEASURES, PARTS, Frame, agreement, check_ventricles, patient_rows
from heartseg.report.bland_altman import draw_bland_altman
from heartseg.report.figures import save
from heartseg.results.evaluation_files import RESULTS
from heartseg.results.patient_tables import CLINICAL, measure_title, measure_unit, rounded, write_patients
from heartseg.results.tables import cases_in_words, number

SIDES = {"pred": "pred_ml", "truth": "truth_ml"}  # suffix of a column: key of a class's volume in an evaluation
ABOUT = ("patient", "group", "frames", "seen", "nominal", "phases_by")
ENDS = [f"{end}_{side}" for end in ("ed", "es") for side in SIDES]
COLUMNS = [*ABOUT, *ENDS, *(f"{measure}_{suffix}" for measure in MEASURES for suffix in (*SIDES, "error"))]


class ClinicalReport:
    """Write ``clinical.csv``, ``clinical.json`` and ``bland_altman.png`` of an evaluation's patients.

    Each patient has a row with the values of `heartseg.metrics.patients.patient_rows` from the masks (``_pred``) and
    from the truths (``_truth``), and their difference (``_error``). End-diastole and end-systole are given by the
    loader's ``phase``, or else by the left ventricle's volume, for the masks by that of the masks, as in use without
    truths. The JSON file also holds the agreement of the two (`heartseg.metrics.patients.agreement`) over ``unseen``
    patients and over ``all``; ``averaged_over`` says which of these is drawn and printed: the unseen, if there are
    any.

    List it after the `heartseg.handlers.CaseMetrics` of the same folder, or after `RobustnessMetrics`, of which the
    clean cases are used: it reads the volumes that these wrote.

    Args:
        output_dir: the folder of the evaluation.
        ventricles: classes of ``left`` and ``right``, the cavities, and ``myocardium``.
        nominal_spacing: mm per axis. Patients with such made-up headers (`heartseg.data.nominal_spacing.is_nominal`)
            are marked nominal, and so are units in mL and g; None: every header is trusted.

    Raises InputError at the end of the evaluation if ``ventricles`` names an unknown class.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        ventricles: Mapping[str, str],
        nominal_spacing: Sequence[float] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.ventricles = dict(ventricles)
        self.nominal_spacing = nominal_spacing
        self.about: dict[str, dict[str, Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output carries ``label``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.about = {}

    def _collect(self, engine: Engine) -> None:
        for entry, item in decollated(engine):
            truth = item["label"]
            self.about[entry["id"]] = {
                "patient": patient_in(entry),
                "group": entry.get("group"),
                "phase": entry.get("phase"),
                "nominal": is_nominal(truth.affine, self.nominal_spacing, truth.meta.get("filename_or_obj")),
            }

    def _write(self, engine: Engine) -> None:
        self.about = dict(distributed.gather(list(self.about.items())))
        if not distributed.is_first():
            return
        results = json.loads((self.output_dir / RESULTS).read_text(encoding="utf-8"))
        report = clinical_report(results["clean"]["cases"], self.about, self.ventricles)
        nominal = None if self.nominal_spacing is None else [float(step) for step in self.nominal_spacing]
        source = {**results["provenance"], PARTS: self.ventricles, "nominal_spacing": nominal}
        write_json(
            self.output_dir / "clinical.json",
            {**report, "myocardial_density_g_per_ml": MYOCARDIAL_DENSITY, "provenance": source},
        )
        write_patients(self.output_dir / CLINICAL, report["patients"], COLUMNS)
        save(draw_bland_altman(report), self.output_dir / "bland_altman.png")
        print_agreement(report)


def clinical_report(
    cases: Sequence[Mapping[str, Any]], about: Mapping[str, Mapping[str, Any]], ventricles: Mapping[str, str]
) -> dict[str, Any]:
    """Return the numbers of each patient, and the agreement of masks and truths.

    Args:
        cases: of an evaluation: ``id``, ``seen`` and ``classes``, each with its volumes ``pred_ml`` and ``truth_ml``.
        about: for each id ``patient``, ``group``, ``phase`` and ``nominal``.
        ventricles: see `ClinicalReport`.

    Returns:
        ``patients``: rows with the keys `COLUMNS`; ``averaged_over``: ``which`` agreement is shown, its number of
        ``patients``, whether they were ``seen`` (None: unknown), how many are ``nominal``; ``agreement``: ``unseen``
        and ``all``, each with the ``unit`` and the statistics of each of `MEASURES`.

    Raises:
        InputError: as `check_ventricles` does.
    """
    ventricles = check_ventricles(ventricles, {name: None for case in cases for name in case["classes"]})
    found = {}
    for side, volume in SIDES.items():
        frames = [
            Frame(
                case["id"],
                about[case["id"]]["patient"],
                {name: row[volume] for name, row in case["classes"].items()},
                about[case["id"]]["phase"],
            )
            for case in cases
        ]
        found[side] = patient_rows(frames, ventricles)
    rows = [_row(pred, truth, cases, about) for pred, truth in zip(found["pred"], found["truth"], strict=True)]
    unseen = [row for row in rows if not row["seen"]]
    main = unseen or rows
    unknown = any(row["seen"] is None for row in main)
    return {
        "patients": [rounded(row) for row in rows],
        "averaged_over": {
            "which": "unseen" if unseen else "all",
            "patients": len(main),
            "seen": None if unknown else not unseen,
            "nominal": sum(row["nominal"] for row in main),
        },
        "agreement": {"unseen": _agreement(unseen), "all": _agreement(rows)},
    }


def _row(
    pred: Mapping[str, Any],
    truth: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    about: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    own = {case["id"]: case["seen"] for case in cases if about[case["id"]]["patient"] == pred["patient"]}
    row: dict[str, Any] = {
        "patient": pred["patient"],
        "group": next((group for identity in own if (group := about[identity]["group"])), None),
        "frames": pred["frames"],
        "seen": True if True in own.values() else None if None in own.values() else False,
        "nominal": any(about[identity]["nominal"] for identity in own),
        "phases_by": pred["phases_by"],
    }
    for end in ("ed", "es"):
        row |= {f"{end}_pred": pred[end], f"{end}_truth": truth[end]}
    for measure in MEASURES:
        error = None if pred[measure] is None or truth[measure] is None else pred[measure] - truth[measure]
        row |= {f"{measure}_pred": pred[measure], f"{measure}_truth": truth[measure], f"{measure}_error": error}
    return row


def _agreement(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    nominal = [row["nominal"] for row in rows]
    return {
        measure: {
            "unit": measure_unit(measure, nominal),
            **agreement(*([row[f"{measure}_{side}"] for row in rows] for side in SIDES)),
        }
        for measure in MEASURES
    }


def print_agreement(report: Mapping[str, Any]) -> None:
    """Print the table of the agreement of masks and truths."""
    over = report["averaged_over"]
    table = Table(title=f"Masks against truths of {cases_in_words(over, 'patient')}")
    for column in ("", "n", "r", "bias", "limits of agreement", "MAE"):
        table.add_column(column, justify="right" if column else "left")
    for measure, found in report["agreement"][over["which"]].items():
        lower, upper, bias = (number(found[key], "+.1f") for key in ("lower", "upper", "bias"))
        limits = "-" if found["lower"] is None else f"{lower} to {upper}"
        name = f"{measure_title(measure)}, {found['unit']}"
        table.add_row(name, str(found["n"]), number(found["r"], ".3f"), bias, limits, number(found["mae"], ".1f"))
    Console().print(table)
