"""Measures of patients from their frames: phases, volumes and function of the ventricles, agreement of two readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import pearsonr

from heartseg.data.acdc import INFO, PHASES
from heartseg.errors import InputError
from heartseg.metrics.clinical import ejection_fraction, myocardial_mass_g, stroke_volume_ml
from heartseg.metrics.paired_test import complete_pairs

GIVEN, GUESSED = INFO, "larger left ventricle"  # sources of the phases of a patient's frames
CHAMBERS = {"lv": "left", "rv": "right"}
PARTS = "parts"  # the id under which a configuration assigns its classes to these roles
ROLES = (*CHAMBERS.values(), "myocardium")
CHAMBER_MEASURES = ("edv_ml", "esv_ml", "sv_ml", "ef_percent")
MEASURES = (*(f"{chamber}_{name}" for chamber in CHAMBERS for name in CHAMBER_MEASURES), "lv_mass_g")
FRAME_MEASURES = {"lv_ml": "left", "rv_ml": "right", "myocardium_ml": "myocardium"}
LIMIT_SDS = 1.96  # standard deviations on either side of the bias: 95 % of normally distributed differences
MIN_PAIRS = 3  # for a correlation; two points are always on a line


class Frame(NamedTuple):
    """One frame of a patient: volumes in mL by class, and its phase, "ED" or "ES", if given."""

    id: str
    patient: str
    millilitres: Mapping[str, float]
    phase: str | None = None


def check_ventricles(ventricles: Mapping[str, str], classes: Mapping[str, Any]) -> dict[str, str]:
    """Return the class of each of the `ROLES`: left and right ventricle and myocardium.

    Raises InputError for a role that is missing or unknown, or a name that is not a class.
    """
    if set(ventricles) != set(ROLES):
        raise InputError(f"{PARTS}: names {', '.join(ventricles) or 'nothing'}; give a class for {', '.join(ROLES)}")
    for role, name in ventricles.items():
        if name not in classes:
            raise InputError(f"{PARTS}: {role}: {name!r} is not a class; there are: {', '.join(classes)}")
    return dict(ventricles)


def find_phases(frames: Sequence[Frame], cavity: str) -> dict[str, str]:
    """Return the phase by id, for the frames that have one.

    If the phase of any of a patient's frames is given, given phases are used. Otherwise, with two or more frames, the
    one with the largest volume of the class ``cavity``, the left ventricle, is end-diastole and the one with the
    smallest is end-systole; frames of equal volume are ordered by id. A single frame has no phase.
    """
    phases: dict[str, str] = {}
    for own in _by_patient(frames).values():
        given = {frame.id: frame.phase for frame in own if frame.phase}
        if given:
            phases |= given
        elif len(own) > 1:
            ordered = sorted(own, key=lambda frame: (-frame.millilitres[cavity], frame.id))
            phases[ordered[0].id], phases[ordered[-1].id] = PHASES
    return phases


def patient_rows(frames: Sequence[Frame], ventricles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one row per patient, sorted by patient.

    Args:
        frames: frames of any number of patients, with the volumes of the classes named in ``ventricles``.
        ventricles: as `check_ventricles` returns them.

    Returns:
        For each ``patient`` the number of ``frames``; the ids of ``ed`` and ``es``; ``phases_by``: the source of these
        (`GIVEN` or `GUESSED`, see `find_phases`); and `MEASURES`: for each chamber ``edv_ml`` and ``esv_ml``, by
        convention at the left ventricle's end-diastole and end-systole, stroke volume ``sv_ml`` and ``ef_percent``,
        and ``lv_mass_g``, the myocardium's at end-diastole. Patients with a single frame also have its volumes
        (`FRAME_MEASURES`). Unknown values are None.
    """
    phases = find_phases(frames, ventricles["left"])
    return [_row(patient, own, phases, ventricles) for patient, own in sorted(_by_patient(frames).items())]


def agreement(measured: Sequence[float | None], truth: Sequence[float | None]) -> dict[str, Any]:
    """Return the agreement of a measurement with the truth, or with another measurement (Bland & Altman, 1986).

    Args:
        measured, truth: a number for each patient, in the same order; None if it is missing.

    Returns:
        ``n``: the number of complete pairs; ``bias``: the mean of their differences, measured - truth; ``sd``: the
        standard deviation of the differences (n - 1); ``lower`` and ``upper``: the limits of agreement, bias -+ 1.96
        sd; ``mae``: the mean absolute difference; ``r``: Pearson's correlation. They are None with too few pairs
        (bias and mae need 1, sd and limits 2, r 3), r also if one of the series is constant.

    Raises InputError for series of different length.
    """
    pairs = complete_pairs(measured, truth)
    result: dict[str, Any] = {"n": len(pairs), **dict.fromkeys(("bias", "sd", "lower", "upper", "mae", "r"))}
    if pairs:
        one, other = np.array(pairs, dtype=float).T
        differences = one - other
        bias = float(differences.mean())
        result |= {"bias": bias, "mae": float(np.abs(differences).mean())}
        if len(pairs) > 1:
            sd = float(differences.std(ddof=1))
            result |= {"sd": sd, "lower": bias - LIMIT_SDS * sd, "upper": bias + LIMIT_SDS * sd}
        if len(pairs) >= MIN_PAIRS and np.ptp(one) and np.ptp(other):
            result["r"] = float(pearsonr(one, other).statistic)
    return result


def _by_patient(frames: Sequence[Frame]) -> dict[str, list[Frame]]:
    patients: dict[str, list[Frame]] = {}
    for frame in frames:
        patients.setdefault(frame.patient, []).append(frame)
    return patients


def _row(
    patient: str, frames: Sequence[Frame], phases: Mapping[str, str], ventricles: Mapping[str, str]
) -> dict[str, Any]:
    at = {phases[frame.id]: frame for frame in frames if frame.id in phases}
    ends = [at.get(phase) for phase in PHASES]
    by = GIVEN if any(frame.phase for frame in frames) else GUESSED
    row: dict[str, Any] = {
        "patient": patient,
        "frames": len(frames),
        **{phase.lower(): None if end is None else end.id for phase, end in zip(PHASES, ends, strict=True)},
        "phases_by": by if at else None,
    }
    for chamber, role in CHAMBERS.items():
        edv, esv = (None if end is None else end.millilitres[ventricles[role]] for end in ends)
        ejected: tuple[float | None, ...] = (None, None)
        if edv is not None and esv is not None:
            ejected = stroke_volume_ml(edv, esv), ejection_fraction(edv, esv)
        row |= {f"{chamber}_{name}": value for name, value in zip(CHAMBER_MEASURES, (edv, esv, *ejected), strict=True)}
    diastole, only = ends[0], frames[0] if len(frames) == 1 else None
    row["lv_mass_g"] = None if diastole is None else myocardial_mass_g(diastole.millilitres[ventricles["myocardium"]])
    for name, role in FRAME_MEASURES.items():
        row[name] = None if only is None else only.millilitres[ventricles[role]]
    return row
