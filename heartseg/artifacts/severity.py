"""Artifacts at a fixed strength: mild, moderate, severe, or as numbers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from heartseg.artifacts.bias_field import RandBiasField
from heartseg.artifacts.blur import RandBlur
from heartseg.artifacts.gamma import RandGamma
from heartseg.artifacts.ghosting import RandGhosting
from heartseg.artifacts.motion import RandMotion
from heartseg.artifacts.noise import RandNoise
from heartseg.artifacts.rician import RandRician
from heartseg.artifacts.slice_dropout import RandSliceDropout
from heartseg.artifacts.spike import RandSpike
from heartseg.artifacts.tensors import is_number
from heartseg.artifacts.transform import RandArtifact
from heartseg.errors import InputError

LEVELS = ("mild", "moderate", "severe")
ARTIFACTS: dict[str, type[RandArtifact]] = {
    cls.function.__name__: cls
    for cls in (
        RandNoise,
        RandRician,
        RandMotion,
        RandGhosting,
        RandSpike,
        RandBiasField,
        RandSliceDropout,
        RandBlur,
        RandGamma,
    )
}


def find_artifact(name: str) -> type[RandArtifact]:
    """The transform of an artifact's name. Raises InputError with the nearest name there is."""
    if name in ARTIFACTS:
        return ARTIFACTS[name]
    near = get_close_matches(str(name), ARTIFACTS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(ARTIFACTS)}"
    raise InputError(f"artifact {name}: there is none of this name; {hint}")


def strengths(
    name: str, severity: str | float = "moderate", settings: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """The numbers of an artifact at a severity, such as ``{"degrees": 10.0, "translation": 5.0}``.

    Args:
        name: of the artifact, such as motion.
        severity: mild, moderate or severe; or a number, which sets the first strength and leaves the others
            at moderate. 0 sets all of them to 0, which is the identity.
        settings: each strength by itself: a number, or three for mild, moderate and severe.

    Raises InputError for an unknown artifact, severity or strength, and for a negative one.
    """
    table: dict[str, Any] = dict(find_artifact(name).severities)
    check_settings(name, settings or {})
    for key, value in (settings or {}).items():
        if key in table:
            table[key] = _three(f"{name}: {key}", value)
    if isinstance(severity, str):
        if severity not in LEVELS:
            raise InputError(f"severity {severity}: is none of {', '.join(LEVELS)}, and no number")
        return {key: float(values[LEVELS.index(severity)]) for key, values in table.items()}
    if not is_number(severity) or not 0 <= severity < float("inf"):
        raise InputError(f"severity {severity}: is no strength; give 0 (no artifact) or more, or one of {LEVELS}")
    if severity == 0:
        return dict.fromkeys(table, 0.0)
    first, *others = table
    return {first: float(severity), **{key: float(table[key][1]) for key in others}}


def at_severity(
    name: str, severity: str | float = "moderate", settings: Mapping[str, Any] | None = None
) -> RandArtifact:
    """The transform that always makes an artifact of just this severity; where and when are still random.

    ``settings`` may also hold what else the transform takes, such as ``moves`` of motion. Arguments and errors
    are otherwise those of `strengths`.
    """
    fixed = {key: (value, value) for key, value in strengths(name, severity, settings).items()}
    return make(name, {**(settings or {}), **fixed})


def make(name: str, settings: Mapping[str, Any]) -> RandArtifact:
    """The transform that always acts, with these arguments. Raises InputError for one that it does not take."""
    check_settings(name, settings)
    return find_artifact(name)(prob=1.0, **settings)


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise InputError for what an artifact's transform does not take; ``prob`` is not theirs to set."""
    known = [key for key in inspect.signature(find_artifact(name)).parameters if key != "prob"]
    if wrong := [key for key in settings if key not in known]:
        raise InputError(f"{name}: {wrong[0]} is none of its settings; there are: {', '.join(known)}")


def _three(name: str, value: Any) -> Sequence[float]:
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * len(LEVELS)
    sound = all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < float("inf") for v in values)
    if len(values) != len(LEVELS) or not sound:
        raise InputError(f"{name} {value!r}: is no strength; give a number of 0 or more, or one each for {LEVELS}")
    return values
