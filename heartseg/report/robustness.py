"""Pictures of an evaluation of robustness: how Dice falls, and what the masks look like."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from heartseg.artifacts import CLEAN, Condition
from heartseg.handlers.cases import RESULTS, decollated
from heartseg.handlers.robustness import cases_in_words, headline
from heartseg.report.figures import BLUE, VERMILION, save
from heartseg.report.sheet import COLUMNS, Plane, draw_sheet, planes

SPAN = 0.05  # of Dice, that an axis shows at least
MEAN: dict[str, Any] = {"color": BLUE, "marker": "o", "linewidth": 1.8, "markersize": 5, "zorder": 3}
EACH: dict[str, Any] = {"color": "0.75", "linewidth": 0.8, "zorder": 1}
WITHOUT: dict[str, Any] = {"color": "0.4", "linestyle": "--", "linewidth": 1, "zorder": 2}


class RobustnessPictures:
    """Draw ``output_dir/robustness.png`` and, of the first cases, ``output_dir/pictures/<id>.png``.

    The one shows Dice against severity for each artifact. The others show a case clean and under each artifact,
    at the severity that stands for it, with the outlines of truth and prediction. List it after the
    `heartseg.handlers.RobustnessMetrics` of the same folder: what is drawn is what was written.

    Args:
        output_dir: the folder of the evaluation.
        conditions: those of the data set.
        cases: how many to draw.
        classes: name and label value of each foreground class, for the legend.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        conditions: Sequence[Condition],
        cases: int = 1,
        classes: Mapping[str, int] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.cases = cases
        self.classes = classes
        severities = [condition.severity for condition in conditions if condition != CLEAN]
        self.severity = headline(dict.fromkeys(severities))
        self.panels: dict[str, dict[str, list[Plane]]] = {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose items are those of a `heartseg.artifacts.ConditionDataset`."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        self.panels = {}

    def _collect(self, engine: Engine) -> None:
        for entry, item in decollated(engine):
            wanted = entry["id"] in self.panels or len(self.panels) < self.cases
            if wanted and entry["severity"] in (CLEAN.severity, self.severity):
                self.panels.setdefault(entry["id"], {})[entry["artifact"]] = planes(item)

    def _draw(self, engine: Engine) -> None:
        results = json.loads((self.output_dir / RESULTS).read_text(encoding="utf-8"))
        save(draw_robustness(results), self.output_dir / "robustness.png")
        for identity, panels in self.panels.items():
            dice = {name: _case(results[name], identity)["dice"] for name in panels}
            save(
                draw_sheet(f"{identity}: {self.severity}", panels, dice, self.classes),
                self.output_dir / "pictures" / f"{identity}.png",
            )


def draw_robustness(results: Mapping[str, Any]) -> Figure:
    """Dice against severity, a panel for each artifact: the mean, each case that it is made of, and clean.

    Args:
        results: content of the ``evaluation_results.json`` of an evaluation of robustness.
    """
    clean = results["clean"]
    artifacts = {name: part for name, part in results.items() if "severities" in part}
    columns = min(COLUMNS, len(artifacts))
    rows = math.ceil(len(artifacts) / columns)
    figure = Figure(figsize=(max(5.0, 2.7 * columns + 0.6), 2.9 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(artifacts) :]:
        axes.set_axis_off()
    for axes, (name, part) in zip(grid.flat, artifacts.items(), strict=False):
        _fall(axes, clean, part["severities"])
        axes.set_title(name.replace("_", " "))
    for axes in grid[:, 0]:
        axes.set_ylabel("Dice")
    low, high = grid[0, 0].get_ylim()
    if high - low < SPAN:  # else a thousandth looks like a fall
        grid[0, 0].set_ylim((low + high - SPAN) / 2, (low + high + SPAN) / 2)
    kinds = {"mean": MEAN, "each case": EACH, "clean": WITHOUT}
    handles = [Line2D([], [], label=kind, **look) for kind, look in kinds.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(cases_in_words(clean["averaged_over"]))
    return figure


def _fall(axes: Axes, clean: Mapping[str, Any], severities: Mapping[str, Mapping[str, Any]]) -> None:
    parts = [clean, *severities.values()]
    places = range(len(parts))
    for case in _averaged(clean):
        own = [_case(part, case["id"])["dice"] for part in parts]
        axes.plot(places, own, **EACH)
    dice = np.array([np.nan if part["dice"] is None else part["dice"] for part in parts], dtype=float)
    axes.axhline(dice[0], **WITHOUT)
    axes.plot(places, dice, **MEAN)
    for place, part in enumerate(parts):
        drop = part.get("drop_percent")
        if drop is not None:
            text = "0 %" if abs(drop) < 0.05 else f"{-drop:+.1f} %"
            at: dict[str, Any] = {"xytext": (0, -13), "textcoords": "offset points", "ha": "center", "fontsize": 8.5}
            axes.annotate(text, (place, dice[place]), color=VERMILION, **at)
    names = list(next(iter(severities.values()))["strengths"])
    ticks = [
        f"{level}\n{', '.join(f'{v:g}' for v in part['strengths'].values())}" for level, part in severities.items()
    ]
    axes.set_xticks(list(places), ["clean", *ticks])
    axes.set_xlim(-0.5, len(parts) - 0.5)
    axes.set_xlabel(", ".join(name.replace("_", " ") for name in names))
    axes.margins(y=0.2)
    axes.grid(alpha=0.25)


def _averaged(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cases that the means stand for."""
    unseen = [case for case in part["cases"] if not case["seen"]]
    return unseen or list(part["cases"])


def _case(part: Mapping[str, Any], identity: str) -> Mapping[str, Any]:
    return next(case for case in part["cases"] if case["id"] == identity)
