"""What a sync tells people: the title of its commit, and its scores beside those of the last one, in Markdown."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from heartseg.errors import InputError, one_line
from heartseg.metrics.table import TABLE
from heartseg.results.comparison import compare_evaluations
from heartseg.results.evaluation_files import RESULTS, read_evaluation
from heartseg.results.tables import cases_in_words

SHOWN = [TABLE[name] for name in ("dice", "hd95", "assd", "nsd")]
LONGEST = 300  # characters of a name or a note, which others have chosen
CURVES = "curves.png"
QUOTE, BAR = "'", "\N{BROKEN BAR}"  # for what would end code, and a cell of a table


class Run(NamedTuple):
    """A run of a kernel: what its manifest says, and the folder of its small results."""

    manifest: Mapping[str, Any]
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether it came to its last epoch, or to the end of its patience."""
        return self.manifest.get("finished") is True

    def told(self, key: str) -> str:
        """What its manifest says under a key, for Markdown."""
        value = self.manifest.get(key)
        return "unknown" if value is None else code(value)

    def evaluation(self) -> dict[str, Any] | None:
        """Its evaluation; None where it has none, or one that is not of cases."""
        try:
            return read_evaluation(self.folder / RESULTS)
        except InputError:
            return None


def title(run: Run, last: Run | None = None) -> str:
    """One line: ``Kaggle: left-atrium Dice 0.9012 (+0.0040)``, the difference to the last run where there is one.

    A run that was stopped before its last epoch is called unfinished.
    """
    dice, before = (number(one.manifest.get("dice")) if one else None for one in (run, last))
    told = ", no Dice" if dice is None else f" Dice {_cell(dice, before, TABLE['dice'].digits)}"
    name = re.sub(r"[^A-Za-z0-9.]+", "-", in_words(str(run.manifest.get("bundle"))))  # nothing that Markdown knows
    return f"Kaggle: {name}{told}{'' if run.finished else ', unfinished'}"


def markdown(kernel: str, run: Run, last: Run | None, curves: str | None = None, left_out: Sequence[str] = ()) -> str:
    """The scores of a run as a table, each with its difference to the last run; where they come from; the curves.

    Args:
        kernel: OWNER/KERNEL.
        run, last: this run and the one that was synced last, None for none.
        curves: address of the picture of the curves.
        left_out: names of results that were too large for the repository.
    """
    evaluation, before = run.evaluation(), last.evaluation() if last else None
    lines = [f"## {title(run, last)}", "", *_table(evaluation, before), "", *_facts(kernel, run)]
    if last is not None:
        lines.append(
            f"- in brackets: the difference to the run that was synced last, of commit {last.told('commit')}, "
            f"started {last.told('started')}"
        )
    lines += [f"- {note}" for note in _notes(evaluation, before)]
    lines += [f"- left out of the repository, since it is large: {code(name)}" for name in left_out]
    if curves:
        lines += ["", f"![Curves of the training]({curves})"]
    return "\n".join([*lines, ""])


def _facts(kernel: str, run: Run) -> list[str]:
    gpus = run.manifest.get("gpus")
    devices = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else "no GPU"
    again = code(f"heartseg kaggle push {run.manifest.get('bundle')} --resume")
    state = "finished" if run.finished else f"**not finished**; {again} goes on with it"
    return [
        f"- kernel [{kernel}](https://www.kaggle.com/code/{kernel}), {state}",
        f"- commit {run.told('commit')}, {run.told('epochs')} epochs in {run.told('minutes')} minutes "
        f"({code(devices)}), started {run.told('started')}",
    ]


def _table(evaluation: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> list[str]:
    if evaluation is None:
        return ["There is no evaluation of cases."]
    clean, old = evaluation["clean"], before["clean"] if before else {}
    rows = {f"mean of {_cases(clean)}": (clean, old)}
    classes, others = _classes(clean), _classes(old)
    if len(classes) > 1:
        rows |= {code(name): (row, others.get(name, {})) for name, row in classes.items()}
    head = ["", *(metric.title for metric in SHOWN)]
    return [
        f"| {' | '.join(head)} |",
        f"| --- |{' ---: |' * len(SHOWN)}",
        *(f"| {name} | {' | '.join(_cells(new, was))} |" for name, (new, was) in rows.items()),
    ]


def _cells(new: Mapping[str, Any], was: Mapping[str, Any]) -> list[str]:
    return [_cell(number(new.get(metric.name)), number(was.get(metric.name)), metric.digits) for metric in SHOWN]


def _classes(clean: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    classes = clean.get("classes")
    rows = classes if isinstance(classes, dict) else {}
    return {name: row for name, row in rows.items() if isinstance(row, dict)}


def _cases(clean: Mapping[str, Any]) -> str:
    over = clean.get("averaged_over")
    if isinstance(over, dict) and isinstance(over.get("cases"), int) and isinstance(over.get("seen"), bool | None):
        return cases_in_words(over)
    return f"{len(clean['cases'])} cases"


def _cell(value: float | None, before: float | None, digits: int) -> str:
    if value is None:
        return "missing"
    told = f"{value:.{digits}f}"
    return told if before is None else f"{told} ({round(value - before, digits) + 0.0:+.{digits}f})"  # no -0.0


def _notes(evaluation: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> list[str]:
    """What to bear in mind when both runs are compared."""
    if evaluation is None or before is None:
        return []
    try:
        notes = compare_evaluations(before, evaluation)["notes"]
    except InputError:
        return ["no case is common to both runs: do not compare their scores"]
    # There A is the last synced run and B this one.
    return [f"{code(note)} (A: the last synced run, B: this one)" for note in notes]


def number(value: Any) -> float | None:
    """A finite number as it is; None for all else that JSON holds."""
    plain = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
    return float(value) if plain and math.isfinite(value) else None


def in_words(text: str) -> str:
    """Text that others chose, on one line that is not long."""
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def code(value: Any) -> str:
    """A value that others chose as code in Markdown, also in a table: no link, picture, mention or HTML works there."""
    return f"`{in_words(str(value)).replace('`', QUOTE).replace('|', BAR) or ' '}`"


def write_outputs(outputs: Mapping[str, str], summary: str | None = None) -> None:
    """In a GitHub Action: the step's outputs, and Markdown for the summary of its job. Elsewhere nothing.

    Raises InputError for an output of more than one line, which could set others.
    """
    lines = [f"{name}={value}" for name, value in outputs.items()]
    if any(len(line.splitlines()) != 1 for line in lines):
        raise InputError(f"outputs {sorted(outputs)}: one has several lines")
    for variable, text in (("GITHUB_OUTPUT", "\n".join(lines)), ("GITHUB_STEP_SUMMARY", summary)):
        if text and (path := os.environ.get(variable)):
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{text}\n")
