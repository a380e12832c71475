"""The title and the Markdown of a sync: a run's scores, with the difference to the run on the default branch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from heartseg.errors import InputError, one_line
from heartseg.metrics.table import TABLE, Metric, metrics_in
from heartseg.results.comparison import compare_evaluations
from heartseg.results.evaluation_files import RESULTS, read_evaluation
from heartseg.results.tables import cases_in_words
from heartseg.results.tables import number as format_number

LONGEST = 300  # characters of a name or note from a manifest
QUOTE, BAR = "'", "\N{BROKEN BAR}"  # replace what would end code, and a cell of a table


class Run(NamedTuple):
    """A run of a kernel: its manifest, and the folder of its small results."""

    manifest: Mapping[str, Any]
    folder: Path

    @property
    def finished(self) -> bool:
        """True if it reached its last epoch, or stopped early by its own rule."""
        return self.manifest.get("finished") is True

    def text(self, key: str) -> str:
        """Return a value of the manifest as Markdown code, ``unknown`` if it is missing."""
        value = self.manifest.get(key)
        return "unknown" if value is None else code(value)

    def score(self) -> tuple[Metric | None, float | None]:
        """Return the key metric (None if this version does not know it) and its value (None if there is none)."""
        metric = TABLE.get(str(self.manifest.get("metric", "dice")))  # older manifests have Dice, and no such key
        return metric, number(self.manifest.get(metric.name)) if metric else None

    def evaluation(self) -> dict[str, Any] | None:
        """Return its evaluation; None if it has none, or one that is not of cases."""
        try:
            return read_evaluation(self.folder / RESULTS)
        except InputError:
            return None


def title(run: Run, last: Run | None = None) -> str:
    """Return one line: ``Kaggle: left-atrium Dice 0.9012 (+0.0040)``.

    In brackets is the difference to the run on the default branch, if there is one. A run that was stopped before its
    last epoch is called unfinished. The metric is the run's key metric.
    """
    metric, value = run.score()
    before = last.score() if last else (None, None)
    if metric is None or value is None:
        score = f", no {metric.label if metric else 'score'}"
    else:
        score = f" {metric.label} {_cell(value, before[1] if before[0] == metric else None, metric)}"
        score += " (lower is better)" if metric.lower_is_better else ""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", in_words(str(run.manifest.get("bundle"))))  # no character of Markdown
    return f"Kaggle: {name}{score}{'' if run.finished else ', unfinished'}"


def markdown(kernel: str, run: Run, last: Run | None, curves: str | None = None, left_out: Sequence[str] = ()) -> str:
    """Return a run's scores as a table with the differences to the run on the default branch, its origin and curves.

    Args:
        kernel: OWNER/KERNEL.
        run, last: this run and the one on the default branch, None for none.
        curves: address of the picture of the curves.
        left_out: names of results that were too large for the repository.
    """
    evaluation, before = run.evaluation(), last.evaluation() if last else None
    metrics = [metric for metric in metrics_in(evaluation["clean"]) if metric.shown] if evaluation else []
    lines = [f"## {title(run, last)}", "", *_table(metrics, evaluation, before), "", *_facts(kernel, run)]
    if last is not None:
        lower = " and ".join(metric.label for metric in metrics if metric.lower_is_better)
        lines.append(
            f"- in brackets: the difference to the run on the default branch, of commit {last.text('commit')}, "
            f"started {last.text('started')}{f'; lower is better for {lower}' if lower else ''}"
        )
    lines += [f"- {note}" for note in _notes(evaluation, before)]
    lines += [f"- too large for the repository: {code(name)}" for name in left_out]
    if curves:
        lines += ["", f"![Curves of the training]({curves})"]
    return "\n".join([*lines, ""])


def origin(run: Run) -> str:
    """Return one line that only this run has: its commit, length, devices and start."""
    gpus = run.manifest.get("gpus")
    devices = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else "no GPU"
    return (
        f"commit {run.text('commit')}, {run.text('epochs')} epochs in {run.text('minutes')} minutes "
        f"({code(devices)}), started {run.text('started')}"
    )


def _facts(kernel: str, run: Run) -> list[str]:
    again = code(f"heartseg kaggle push {run.manifest.get('bundle')} --resume")
    state = "finished" if run.finished else f"**not finished**; {again} continues it"
    return [
        f"- kernel [{kernel}](https://www.kaggle.com/code/{kernel}), {state}",
        f"- {origin(run)}",
    ]


def _table(
    metrics: Sequence[Metric], evaluation: Mapping[str, Any] | None, before: Mapping[str, Any] | None
) -> list[str]:
    if evaluation is None:
        return ["There is no evaluation of cases."]
    clean, old = evaluation["clean"], before["clean"] if before else {}
    rows = {f"mean of {_cases(clean)}": (clean, old)}
    classes, others = _classes(clean), _classes(old)
    if len(classes) > 1:
        rows |= {code(name): (row, others.get(name, {})) for name, row in classes.items()}
    return [
        f"| {' | '.join(['', *(metric.title for metric in metrics)])} |",
        f"| --- |{' ---: |' * len(metrics)}",
        *(
            f"| {name} | {' | '.join(_cell(number(new.get(m.name)), number(was.get(m.name)), m) for m in metrics)} |"
            for name, (new, was) in rows.items()
        ),
    ]


def _classes(clean: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    classes = clean.get("classes")
    rows = classes if isinstance(classes, dict) else {}
    return {name: row for name, row in rows.items() if isinstance(row, dict)}


def _cases(clean: Mapping[str, Any]) -> str:
    over = clean.get("averaged_over")
    if isinstance(over, dict) and isinstance(over.get("cases"), int) and isinstance(over.get("seen"), bool | None):
        return cases_in_words(over)
    return f"{len(clean['cases'])} case{'s' if len(clean['cases']) != 1 else ''}"


def _cell(value: float | None, before: float | None, metric: Metric) -> str:
    """Return a number and, in brackets, its difference to the one before."""
    if value is None or before is None:
        return format_number(value, f".{metric.digits}f", "missing")
    difference = format_number(value - before, f"+.{metric.digits}f")
    return f"{format_number(value, f'.{metric.digits}f')} ({difference})"


def _notes(evaluation: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> list[str]:
    """Return what limits a comparison of both runs."""
    if evaluation is None or before is None:
        return []
    try:
        notes = compare_evaluations(before, evaluation)["notes"]
    except InputError:
        return ["no case is common to both runs: do not compare their scores"]
    # There A is the run on the default branch and B this one.
    return [f"{code(note)} (A: the run on the default branch, B: this one)" for note in notes]


def number(value: Any) -> float | None:
    """Return a finite number of JSON, None for any other value."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e9 else None


def in_words(text: str) -> str:
    """Return text of unknown origin on one line of at most `LONGEST` characters."""
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def code(value: Any) -> str:
    """Return a value of unknown origin as Markdown code, also in a table: no link, picture, mention or HTML works."""
    return f"`{in_words(str(value)).replace('`', QUOTE).replace('|', BAR) or ' '}`"


def write_outputs(outputs: Mapping[str, str], summary: str | None = None) -> None:
    """Write the step's outputs, and Markdown for the job's summary, in a GitHub Action; elsewhere do nothing.

    Raises InputError for an output of more than one line, which could set others.
    """
    lines = [f"{name}={value}" for name, value in outputs.items()]
    if any(len(line.splitlines()) != 1 for line in lines):
        raise InputError(f"outputs {sorted(outputs)}: one has several lines")
    for variable, text in (("GITHUB_OUTPUT", "\n".join(lines)), ("GITHUB_STEP_SUMMARY", summary)):
        if text and (path := os.environ.get(variable)):
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{text}\n")
