"""Artifacts at a fixed strength: mild, moderate, severe, or a number."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
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
from heartseg.artifacts.transform import RandArtifact
from heartseg.errors import InputError, nearest
from heartseg.numbers import is_number

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
    """Return the transform class of an artifact. Raises InputError, with the nearest name, if there is none."""
    if name not in ARTIFACTS:
        raise InputError(f"artifact {name}: unknown; {nearest(str(name), ARTIFACTS)}")
    return ARTIFACTS[name]


def check_names(artifacts: Any, where: str, kind: Any = Sequence) -> Any:
    """Return names of artifacts, all of them for None. Raises InputError unless they are a ``kind`` of names."""
    names = list(ARTIFACTS) if artifacts is None else artifacts
    valid = isinstance(names, kind) and not isinstance(names, str) and all(isinstance(name, str) for name in names)
    if not valid or not names:
        raise InputError(f"{where} {artifacts!r} is not a list of names; give one such as [motion, noise]")
    return names


def check_severity(severity: Any) -> None:
    """Raise InputError unless a severity is one of `LEVELS`, or a finite number that is not negative."""
    if not (severity in LEVELS if isinstance(severity, str) else is_number(severity) and 0 <= severity < math.inf):
        known = ", ".join(LEVELS)
        raise InputError(f"severity {severity}: is not a strength; give 0 (no artifact) or more, or one of {known}")


def strengths(
    name: str, severity: str | float = "moderate", settings: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Return the strengths of an artifact at a severity, such as ``{"degrees": 10.0, "translation": 5.0}``.

    Args:
        name: name of the artifact, such as motion.
        severity: mild, moderate or severe; or a number, which sets the first strength and leaves the others at
            moderate. 0 sets all of them to 0, which is the identity.
        settings: overrides by strength: a number, or three for mild, moderate and severe.

    Raises InputError for an unknown artifact, severity or strength, and for a negative one.
    """
    table: dict[str, Any] = dict(find_artifact(name).severities)
    check_settings(name, settings or {})
    for key, value in (settings or {}).items():
        if key in table:
            table[key] = _three(f"{name}: {key}", value)
    check_severity(severity)
    if isinstance(severity, str):
        return {key: float(values[LEVELS.index(severity)]) for key, values in table.items()}
    if severity == 0:
        return dict.fromkeys(table, 0.0)
    first, *others = table
    return {first: float(severity), **{key: float(table[key][1]) for key in others}}


def at_severity(
    name: str, severity: str | float = "moderate", settings: Mapping[str, Any] | None = None
) -> RandArtifact:
    """Return the transform that always applies an artifact at exactly this severity; its place and time stay random.

    ``settings`` may also hold other arguments of the transform, such as ``moves`` of motion. Arguments and errors are
    otherwise those of `strengths`.
    """
    fixed = {key: (value, value) for key, value in strengths(name, severity, settings).items()}
    return make_transform(name, {**(settings or {}), **fixed})


def make_transform(name: str, settings: Mapping[str, Any]) -> RandArtifact:
    """Return the transform, with probability 1 and these arguments. Raises InputError for an unknown argument."""
    check_settings(name, settings)
    return find_artifact(name)(prob=1.0, **settings)


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise InputError for an argument that an artifact's transform does not take; ``prob`` cannot be set either."""
    known = [key for key in inspect.signature(find_artifact(name)).parameters if key != "prob"]
    if wrong := [key for key in settings if key not in known]:
        raise InputError(f"{name}: {wrong[0]}: unknown setting; {nearest(str(wrong[0]), known)}")


def _three(name: str, value: Any) -> Sequence[float]:
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * len(LEVELS)
    if len(values) != len(LEVELS) or not all(is_number(v) and 0 <= v < math.inf for v in values):
        each = ", ".join(LEVELS)
        raise InputError(f"{name} {value!r}: is not a strength; give a number of 0 or more, or one each for {each}")
    return values
