"""Scans clean and under artifacts of fixed strength, to evaluate robustness."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from heartseg.artifacts.severity import LEVELS, at_severity, check_names, check_severity, strengths
from heartseg.artifacts.transform import RandArtifact
from heartseg.data.files import plain
from heartseg.errors import InputError

Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Condition:
    """An artifact with its severity as text, its strengths and its other settings, such as ``{"moves": 8}``.

    The condition ``clean`` has no severity, strengths, settings or transform.
    """

    artifact: str = "clean"
    severity: str = ""
    strengths: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    transform: RandArtifact | None = field(default=None, compare=False, repr=False)


CLEAN = Condition()


def list_conditions(
    artifacts: Sequence[str] | None = None,
    severity: str | float | None = None,
    settings: Settings | None = None,
) -> list[Condition]:
    """Return `CLEAN`, then each artifact at each severity.

    Args:
        artifacts: names of artifacts; None for all.
        severity: mild, moderate or severe, or a number for the artifact's first strength; None for all three.
        settings: settings for `at_severity` by artifact, as in ``{"motion": {"degrees": 12}}``.

    Raises InputError, before any scan is touched, for an unknown artifact, severity or setting, and for invalid
    strengths; also if ``severity`` is a number that is not a valid strength of all artifacts.
    """
    names = check_names(artifacts, "artifacts:")
    if severity is not None:
        check_severity(severity)
    given = _check_settings(settings)
    for name in given:
        at_severity(name, settings=given[name])  # typos are reported even for artifacts that are not evaluated
    conditions = [CLEAN]
    for name in dict.fromkeys(names):
        own = given.get(name, {})
        for level in LEVELS if severity is None else [severity]:
            text = level if isinstance(level, str) else f"{level:g}"
            values = strengths(name, level, own)
            others = {key: plain(value) for key, value in own.items() if key not in values}
            try:
                transform = at_severity(name, level, own)
            except InputError as error:
                if isinstance(level, str) or len(set(names)) == 1:
                    raise
                hint = f"{text} sets the first strength of every artifact: select some of them (--artifact)"
                raise InputError(f"{error}; {hint}") from None
            conditions.append(Condition(name, text, values, others, transform))
    return conditions


class ConditionDataset(IterableDataset):
    """Cases under every condition in turn, each loaded once: first clean, then with each artifact.

    Artifacts arise in the scanner, so they change the image's intensities before these are normalised. An artifact's
    random state depends only on the seed, the case and the artifact: all its severities share place and time, and
    neither the order of the cases, nor the choice of artifacts, nor the number of workers changes an image (except in
    the last digit, if a worker computes with fewer threads than the main process).

    An item is the output of ``after``, with ``artifact`` and ``severity`` of its condition. Items share their labels,
    which are therefore read-only, and nothing else.

    Args:
        data: cases, each with an ``id``.
        before: transform that loads a case and resamples it to the network's grid; its ``image`` is ``[C, *spatial]``.
        after: transform that follows the artifact, such as the normalisation; it keeps ``image``.
        conditions: from `list_conditions`.
        seed: seed of the artifacts' place and time.

    Raises InputError, while iterating, for an artifact so strong that the image is no longer finite.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        before: Callable[[Any], Any],
        after: Callable[[Any], Any],
        conditions: Sequence[Condition],
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.data = data
        self.before = before
        self.after = after
        self.conditions = conditions
        self.seed = seed

    def __len__(self) -> int:
        return len(self.data) * len(self.conditions)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        # The loader asks its workers in turn, so cases dealt out in turn come back in order.
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for case in self.data[first::step]:
            scan = self.before(dict(case))
            for condition in self.conditions:
                # Normalisation writes in place, and MONAI records applied transforms in the image.
                image = scan["image"].clone()
                if condition.transform is not None:
                    condition.transform.set_random_state(condition_seed(self.seed, case["id"], condition.artifact))
                    image = condition.transform(image)
                    _check_finite(image, case["id"], condition)
                item = {**scan, "image": image, "artifact": condition.artifact, "severity": condition.severity}
                ready = self.after(item)
                if condition.transform is not None:
                    _check_finite(ready["image"], case["id"], condition)  # squares within a normalisation may overflow
                yield ready


def condition_seed(seed: int, case: str, artifact: str) -> int:
    """Return a seed for one artifact in one case, the same on every machine."""
    digest = hashlib.sha256(f"{seed}\n{case}\n{artifact}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _check_finite(image: torch.Tensor, case: str, condition: Condition) -> None:
    # Without this check an empty mask, and a Dice of 0, would look like a result.
    if not image.abs().max().isfinite():  # seven times as fast as checking every voxel
        raise InputError(
            f"{case}: the image is no longer finite under {condition.artifact} at severity {condition.severity}; "
            "lower the severity or the strengths"
        )


def _check_settings(settings: Any) -> Settings:
    entries = {} if settings is None else settings
    if not isinstance(entries, Mapping) or not all(isinstance(own, Mapping) for own in entries.values()):
        raise InputError(f"strengths: {settings!r} is not a mapping by artifact; write {{motion: {{degrees: 12}}}}")
    return entries
