"""The table of metrics, used by results, tables, figures, comparisons and Kaggle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from heartseg.errors import InputError, nearest

MM = "mm"


class Metric(NamedTuple):
    """Metric: its name in files, its label for people, its unit ("" for a share) and the digits to show."""

    name: str
    label: str
    unit: str = ""
    digits: int = 4
    lower_is_better: bool = False
    shown: bool = True  # in the table of an evaluation; files hold all metrics

    @property
    def title(self) -> str:
        """Return the label with its unit, as in ``HD95 in mm``."""
        return f"{self.label} in {self.unit}" if self.unit else self.label


DICE = Metric("dice", "Dice")
OF_SURFACES = (
    Metric("hd95", "HD95", MM, 2, lower_is_better=True),
    Metric("hd", "HD", MM, 2, lower_is_better=True, shown=False),
    Metric("assd", "ASSD", MM, 2, lower_is_better=True),
    Metric("nsd", "NSD"),
    Metric("boundary_dice", "boundary Dice", shown=False),
)
OF_PROBABILITIES = (
    Metric("auroc", "AUROC"),
    Metric("auprc", "AUPRC"),
    Metric("accuracy", "accuracy"),
    Metric("log_loss", "log loss", lower_is_better=True),
)
TABLE: dict[str, Metric] = {metric.name: metric for metric in (DICE, *OF_SURFACES, *OF_PROBABILITIES)}


def find_metric(name: str, known: Iterable[str] = TABLE) -> Metric:
    """Return the metric of this name. Raises InputError, with the nearest of the ``known`` names, if it is not one."""
    known = [metric.name for metric in metrics_in(known)]
    if name not in known:
        raise InputError(f"metric {name}: unknown; {nearest(name, known)}")
    return TABLE[name]


def key_metric(name: str) -> Metric:
    """Return the metric of an evaluator's key metric name: ``val_mean_dice`` is ``dice``.

    Raises InputError if the table has no such metric.
    """
    return find_metric(name.removeprefix("val_").removeprefix("mean_"))


def metrics_in(names: Iterable[str]) -> list[Metric]:
    """Return the metrics with these names, in the table's order; other names are ignored."""
    wanted = set(names)
    return [metric for metric in TABLE.values() if metric.name in wanted]
