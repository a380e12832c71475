"""Handler that evaluates every case clean and under each artifact."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ignite.engine import Engine

from heartseg import distributed
from heartseg.artifacts import CLEAN, Condition
from heartseg.data.files import plain
from heartseg.handlers.evaluation import CaseMetrics
from heartseg.results.tables import headline, print_robustness


class RobustnessMetrics(CaseMetrics):
    """`CaseMetrics` for a `heartseg.artifacts.ConditionDataset`: the same file, with one more key per artifact.

    ``clean`` is what `CaseMetrics` writes for the same cases. Each artifact has the same numbers at moderate
    severity, or at the only one evaluated, and ``severity``, ``strengths``, ``settings`` (the artifact's other
    settings), ``drop_percent`` and ``severities``: all of this for each severity. The table has a row for each case,
    artifact, severity and class.

    Args:
        output_dir, classes, weights, tolerance, settings, phases, nominal_spacing: see `CaseMetrics`.
        conditions: those of the data set.
        seed: that of the data set, for the provenance.
    """

    keys = ("artifact", "severity")

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        classes: Mapping[str, int],
        conditions: Sequence[Condition],
        seed: int,
        weights: str | os.PathLike[str] | None = None,
        tolerance: float = 2.0,
        settings: Mapping[str, Any] | None = None,
        phases: str | None = None,
        nominal_spacing: Sequence[float] | None = None,
    ) -> None:
        source = {"seed": seed, **plain(settings or {})}
        super().__init__(output_dir, classes, weights, tolerance, source, phases, nominal_spacing)
        self.conditions = list(conditions)
        self.under: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def _start(self, engine: Engine) -> None:
        super()._start(engine)
        self.under = {(condition.artifact, condition.severity): [] for condition in self.conditions}

    def collect(self, entry: Mapping[str, Any], case: dict[str, Any]) -> None:
        """Store the numbers of a case under its condition."""
        self.under[entry["artifact"], entry["severity"]].append(case)

    def gather(self) -> None:
        """Collect the cases that several processes evaluated."""
        self.under = {condition: distributed.gather(cases) for condition, cases in self.under.items()}

    def results(self) -> dict[str, Any]:
        """Return the results of ``clean`` and of each artifact."""
        clean = self.summary(self.under[CLEAN.artifact, CLEAN.severity])
        severities: dict[str, dict[str, Any]] = {}
        for condition in self.conditions:
            if condition != CLEAN:
                found = self.summary(self.under[condition.artifact, condition.severity])
                severities.setdefault(condition.artifact, {})[condition.severity] = {
                    "severity": condition.severity,
                    "strengths": dict(condition.strengths),
                    "settings": dict(condition.settings),
                    "drop_percent": drop_percent(clean["dice"], found["dice"]),
                    **found,
                }
        return {
            "clean": clean,
            **{name: {**levels[headline(levels)], "severities": levels} for name, levels in severities.items()},
        }

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield each case under each condition."""
        for (artifact, severity), cases in self.under.items():
            yield from ((case, artifact, severity) for case in cases)

    def show(self, results: Mapping[str, Any]) -> None:
        """Print a table with a row for each artifact."""
        print_robustness(results)


def drop_percent(clean: float | None, dice: float | None) -> float | None:
    """Return the drop of Dice, the score of masks, relative to clean, in percent; negative if it rises.

    None if clean is 0 or either is missing.
    """
    return None if not clean or dice is None else 100 * (clean - dice) / clean
