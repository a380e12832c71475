"""Patients from their frames: which is end-diastole, what the ventricles eject, and whether two readers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import pearsonr

from heartseg.data.acdc import INFO, PHASES
from heartseg.errors import InputError
from heartseg.metrics.clinical import ejection_fraction, myocardial_mass_g, stroke_volume_ml

TOLD, GUESSED = INFO, "larger left ventricle"  # how the phases of a patient's frames are known
CHAMBERS = {"lv": "left", "rv": "right"}
PARTS = "parts"  # where a configuration names its classes of these:
ROLES = (*CHAMBERS.values(), "myocardium")
OF_A_CHAMBER = ("edv_ml", "esv_ml", "sv_ml", "ef_percent")
MEASURES = (*(f"{chamber}_{name}" for chamber in CHAMBERS for name in OF_A_CHAMBER), "lv_mass_g")
OF_ONE_FRAME = {"lv_ml": "left", "rv_ml": "right", "myocardium_ml": "myocardium"}
LIMITS = 1.96  # standard deviations from the bias: between them lie 95 % of normal differences
ENOUGH = 3  # pairs; through two points there is always a line


class Frame(NamedTuple):
    """One frame of a patient: volumes in mL by class, and its phase, "ED" or "ES", where it was told."""

    id: str
    patient: str
    millilitres: Mapping[str, float]
    phase: str | None = None


def check_ventricles(ventricles: Mapping[str, str], classes: Mapping[str, Any]) -> dict[str, str]:
    """The classes of left and right ventricle and myocardium, by these names (`ROLES`).

    Raises InputError for one that is missing, superfluous, or no class.
    """
    if set(ventricles) != set(ROLES):
        raise InputError(f"{PARTS}: names {', '.join(ventricles) or 'nothing'}; give a class for {', '.join(ROLES)}")
    for role, name in ventricles.items():
        if name not in classes:
            raise InputError(f"{PARTS}: {role}: {name!r} is no class; there are: {', '.join(classes)}")
    return dict(ventricles)


def find_phases(frames: Sequence[Frame], cavity: str) -> dict[str, str]:
    """Phase by id, of the frames that have one.

    Where a phase of one of a patient's frames was told, what was told counts. Else, of two or more frames, the
    one with the largest volume of the class ``cavity``, the left ventricle, is end-diastole and the one with
    the smallest end-systole; of equal ones the first by id comes first. A single frame has none.
    """
    phases: dict[str, str] = {}
    for own in _by_patient(frames).values():
        told = {frame.id: frame.phase for frame in own if frame.phase}
        if told:
            phases |= told
        elif len(own) > 1:
            ordered = sorted(own, key=lambda frame: (-frame.millilitres[cavity], frame.id))
            phases[ordered[0].id], phases[ordered[-1].id] = PHASES
    return phases


def patient_rows(frames: Sequence[Frame], ventricles: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is known of each patient, sorted by patient.

    Args:
        frames: of any number of patients, with the volumes of the classes that ``ventricles`` names.
        ventricles: as `check_ventricles` returns them.

    Returns:
        For each ``patient`` how many ``frames``, ``ed`` and ``es``: their ids, ``phases_by``: how these are known
        (`TOLD`, `GUESSED`; see `find_phases`), and `MEASURES`: of each chamber ``edv_ml`` and ``esv_ml`` at the
        left ventricle's end-diastole and end-systole, as is usual, stroke volume ``sv_ml`` and ``ef_percent``,
        and ``lv_mass_g``, the myocardium's at end-diastole. Of a patient with one frame its volumes too
        (`OF_ONE_FRAME`). None for what is not known.
    """
    phases = find_phases(frames, ventricles["left"])
    return [_row(patient, own, phases, ventricles) for patient, own in sorted(_by_patient(frames).items())]


def agreement(measured: Sequence[float | None], truth: Sequence[float | None]) -> dict[str, Any]:
    """How well a measurement agrees with the truth, or with another one (Bland & Altman, 1986).

    Args:
        measured, truth: a number for each patient, in the same order; None where it is missing.

    Returns:
        ``n`` pairs of which both are there, and of these ``bias``: the mean of the differences, measured less
        truth; ``sd``: their standard deviation (n - 1); ``lower`` and ``upper``: the limits of agreement, bias
        -+ 1.96 sd; ``mae``: the mean of their sizes; ``r``: Pearson's correlation. None where there are too few
        pairs (1, for sd and limits 2, for r 3), and r too where one of the series is constant.

    Raises:
        InputError: series of different length.
    """
    if len(measured) != len(truth):
        raise InputError(f"pairs: {len(measured)} and {len(truth)} numbers; give one of each for every patient")
    pairs = [(x, y) for x, y in zip(measured, truth, strict=True) if x is not None and y is not None]
    result: dict[str, Any] = {"n": len(pairs), **dict.fromkeys(("bias", "sd", "lower", "upper", "mae", "r"))}
    if pairs:
        one, other = np.array(pairs, dtype=float).T
        differences = one - other
        bias = float(differences.mean())
        result |= {"bias": bias, "mae": float(np.abs(differences).mean())}
        if len(pairs) > 1:
            sd = float(differences.std(ddof=1))
            result |= {"sd": sd, "lower": bias - LIMITS * sd, "upper": bias + LIMITS * sd}
        if len(pairs) >= ENOUGH and np.ptp(one) and np.ptp(other):
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
    by = TOLD if any(frame.phase for frame in frames) else GUESSED
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
        row |= {f"{chamber}_{name}": value for name, value in zip(OF_A_CHAMBER, (edv, esv, *ejected), strict=True)}
    diastole, only = ends[0], frames[0] if len(frames) == 1 else None
    row["lv_mass_g"] = None if diastole is None else myocardial_mass_g(diastole.millilitres[ventricles["myocardium"]])
    for name, role in OF_ONE_FRAME.items():
        row[name] = None if only is None else only.millilitres[ventricles[role]]
    return row
