"""Every scan of a list clean and under artifacts of fixed strength, for an evaluation of robustness."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from heartseg.artifacts.severity import ARTIFACTS, LEVELS, at_severity, strengths
from heartseg.artifacts.transform import RandArtifact
from heartseg.data.files import plain
from heartseg.errors import InputError

Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Condition:
    """What a scan is seen under: an artifact, its severity as text, its strengths and what else was set of it.

    ``clean`` has none of them. ``settings`` holds what was given beside the strengths, such as ``{"moves": 8}``.
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
    """`CLEAN`, then each artifact at each severity.

    Args:
        artifacts: their names; None for all.
        severity: mild, moderate or severe, or a number for the artifact's first strength; None for all three.
        settings: for artifacts by name what `at_severity` takes, as in ``{"motion": {"degrees": 12}}``.

    Raises InputError, before any scan is touched, for an unknown artifact, severity or setting, and for
    strengths that cannot be; of a number, it says where that one is no strength of several artifacts alike.
    """
    names = list(ARTIFACTS) if artifacts is None else artifacts
    if isinstance(names, str) or not isinstance(names, Sequence) or not names or not all(map(_text, names)):
        raise InputError(f"artifacts: {artifacts!r} is no list of names; give one, as in [motion, noise]")
    if not isinstance(severity, str | int | float | None):
        raise InputError(f"severity {severity}: is no strength; give one of {', '.join(LEVELS)}, or a number")
    given = _checked(settings)
    for name in given:
        at_severity(name, settings=given[name])  # a slip in what is not asked for is a slip too
    conditions = [CLEAN]
    for name in dict.fromkeys(names):
        own = given.get(name, {})
        for level in LEVELS if severity is None else [severity]:
            text = level if isinstance(level, str) else f"{level:g}"
            strong = strengths(name, level, own)
            beside = {key: plain(value) for key, value in own.items() if key not in strong}
            try:
                transform = at_severity(name, level, own)
            except InputError as error:
                if isinstance(level, str) or len(set(names)) == 1:
                    raise
                hint = f"{text} is the first strength of every artifact asked for: one may choose some (--artifact)"
                raise InputError(f"{error}; {hint}") from None
            conditions.append(Condition(name, text, strong, beside, transform))
    return conditions


class ConditionDataset(IterableDataset):
    """Load each case once and give it under every condition in turn: first as it is, then with each artifact.

    An artifact arises in the scanner, so it acts on the image's intensities before they are normalised. Its
    random state comes from seed, case and artifact alone: all severities of an artifact share place and
    moment, and neither the order of the cases, nor which artifacts are asked for, nor the number of workers
    changes an image (but for a last digit, where a worker computes with fewer threads than the main process).

    Args:
        data: cases, each with an ``id``.
        before: what loads a case and brings it onto the network's grid; its ``image`` is ``[C, *spatial]``.
        after: what follows the artifact, such as the normalisation; it keeps ``image``.
        conditions: from `list_conditions`.
        seed: of where and when.

    An item is what ``after`` gives, with ``artifact`` and ``severity`` of its condition. Nothing that is done to
    one item shows in another, labels excepted: they are shared, so treat them as read-only.

    Raises InputError, on the way, for an artifact so strong that what it leaves is not finite.
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
        # Cases are dealt out in turn, as the loader asks its workers in turn: so they come back in their order.
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for case in self.data[first::step]:
            scan = self.before(dict(case))
            for condition in self.conditions:
                # Normalisation writes in place, and what was done to an image is noted in the image.
                image = scan["image"].clone()
                if condition.transform is not None:
                    condition.transform.set_random_state(condition_seed(self.seed, case["id"], condition.artifact))
                    image = condition.transform(image)
                    _check_finite(image, case["id"], condition)
                item = {**scan, "image": image, "artifact": condition.artifact, "severity": condition.severity}
                ready = self.after(item)
                if condition.transform is not None:
                    _check_finite(ready["image"], case["id"], condition)  # a normalisation squares
                yield ready


def condition_seed(seed: int, case: str, artifact: str) -> int:
    """A seed for one artifact in one case, the same on every machine."""
    digest = hashlib.sha256(f"{seed}\n{case}\n{artifact}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _check_finite(image: torch.Tensor, case: str, condition: Condition) -> None:
    # Else an empty mask, and a Dice of 0, would look like a finding.
    if not image.abs().max().isfinite():  # a seventh of the time of asking every voxel
        raise InputError(
            f"{case}: under {condition.artifact} at severity {condition.severity} its image is no longer finite; "
            "give less, as severity or strengths"
        )


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _checked(settings: Any) -> Settings:
    entries = {} if settings is None else settings
    if not isinstance(entries, Mapping) or not all(isinstance(own, Mapping) for own in entries.values()):
        raise InputError(f"strengths: {settings!r} does not name them; write {{motion: {{degrees: 12}}}}")
    return entries
