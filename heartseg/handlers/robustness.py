"""An engine's handler that judges every case clean and under each artifact."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ignite.engine import Engine
from rich.console import Console
from rich.table import Table

from heartseg import processes
from heartseg.artifacts import CLEAN, Condition
from heartseg.artifacts.conditions import plain
from heartseg.handlers.cases import CaseMetrics, summary
from heartseg.handlers.tables import nominal_note

HEADLINE = "moderate"  # the severity whose numbers stand for an artifact


class RobustnessMetrics(CaseMetrics):
    """`CaseMetrics` for the items of a `heartseg.artifacts.ConditionDataset`: the same file, with a key more for
    each artifact.

    ``clean`` is what `CaseMetrics` writes for the same cases. Each artifact has the same numbers at moderate
    severity, or at the only one there is, beside ``severity``, ``strengths``, ``settings`` (what else was set of
    the artifact), ``drop_percent`` and ``severities``: all this for each severity by itself. The table has a row
    for each case, artifact, severity and class.

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
        """Keep the numbers of a case under its condition."""
        self.under[entry["artifact"], entry["severity"]].append(case)

    def gather(self) -> None:
        """Bring together the cases that several processes judged."""
        self.under = {condition: processes.gather(cases) for condition, cases in self.under.items()}

    def results(self) -> dict[str, Any]:
        """``clean`` and each artifact."""
        clean = summary(self.under[CLEAN.artifact, CLEAN.severity], self.phases)
        severities: dict[str, dict[str, Any]] = {}
        for condition in self.conditions:
            if condition != CLEAN:
                found = summary(self.under[condition.artifact, condition.severity], self.phases)
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
        """Each case under each condition."""
        for (artifact, severity), cases in self.under.items():
            yield from ((case, artifact, severity) for case in cases)

    def show(self, results: Mapping[str, Any]) -> None:
        """Print a line for each artifact."""
        print_robustness(results)


def headline(severities: Mapping[str, Any]) -> str:
    """The severity whose numbers stand for an artifact: moderate, else the only one that was asked for."""
    return HEADLINE if HEADLINE in severities else next(iter(severities))


def drop_percent(clean: float | None, dice: float | None) -> float | None:
    """By how much of itself, in percent, Dice falls from clean; negative where it rises.

    None where there is nothing to fall: clean is 0, or there is none.
    """
    return None if not clean or dice is None else 100 * (clean - dice) / clean


def cases_in_words(over: Mapping[str, Any], what: str = "case") -> str:
    """The cases (or patients) that means stand for, in words, from ``averaged_over``: ``4 unseen cases``."""
    words = {True: "seen ", False: "unseen ", None: ""}
    unknown = " (seen or not: unknown)" if over["seen"] is None else ""
    number = over[f"{what}s"]
    return f"{number} {words[over['seen']]}{what}{'s' if number != 1 else ''}{unknown}"


def print_robustness(results: Mapping[str, Any]) -> None:
    """The table of an evaluation of robustness, for the terminal."""
    clean = results["clean"]
    artifacts = {name: part for name, part in results.items() if "severities" in part}
    levels = list(next(iter(artifacts.values()))["severities"])
    over = clean["averaged_over"]
    table = Table(title=f"Mean of {cases_in_words(over)} (distances in mm)", caption=nominal_note(over))
    table.add_column("artifact", no_wrap=True)
    for column in (*(f"Dice {level}" for level in levels), "drop %", "HD95", "missing"):
        table.add_column(column, justify="right")
    table.add_row("clean", *[_number(clean["dice"], 4)] * len(levels), "", _number(clean["hd95"], 2), _count(clean))
    table.add_section()
    for name, part in artifacts.items():
        dice = [_number(part["severities"][level]["dice"], 4) for level in levels]
        table.add_row(name, *dice, _number(part["drop_percent"], 1), _number(part["hd95"], 2), _count(part))
    console = Console()
    console.print(table)
    if len(levels) > 1:
        console.print(
            f"drop (of Dice, relative to clean), HD95 and missing distances: {headline(dict.fromkeys(levels))}"
        )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _count(part: Mapping[str, Any]) -> str:
    return str(part["missing"] or "")
