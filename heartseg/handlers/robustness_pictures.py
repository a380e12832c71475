"""Handler that draws a robustness evaluation: Dice against severity, and masks under artifacts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ignite.engine import Engine, Events

from heartseg.artifacts import CLEAN, Condition
from heartseg.handlers.evaluation import decollated
from heartseg.report.condition_sheet import Plane, case_planes, draw_sheet
from heartseg.report.figures import save
from heartseg.report.robustness_figure import case_of, draw_robustness
from heartseg.results.evaluation_files import RESULTS
from heartseg.results.tables import headline


class RobustnessPictures:
    """Draw ``output_dir/robustness.png`` and, of the first cases, ``output_dir/pictures/<id>.png``.

    The first shows Dice against severity for each artifact. The others show a case clean and under each artifact, at
    its headline severity, with the outlines of truth and prediction. List it after the
    `heartseg.handlers.RobustnessMetrics` of the same folder, whose results it reads.

    Args:
        output_dir: the folder of the evaluation.
        conditions: those of the data set.
        cases: number of cases to draw.
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
                self.panels.setdefault(entry["id"], {})[entry["artifact"]] = case_planes(item)

    def _draw(self, engine: Engine) -> None:
        results = json.loads((self.output_dir / RESULTS).read_text(encoding="utf-8"))
        save(draw_robustness(results), self.output_dir / "robustness.png")
        for identity, panels in self.panels.items():
            dice = {name: case_of(results[name], identity)["dice"] for name in panels}
            save(
                draw_sheet(f"{identity}: {self.severity}", panels, dice, self.classes),
                self.output_dir / "pictures" / f"{identity}.png",
            )
