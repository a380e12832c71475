"""The one table of metrics: what results, tables, figures, comparisons and Kaggle know of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from heartseg.errors import InputError, nearest

MM = "mm"


class Metric(NamedTuple):
    """A metric's name in files, its label for people, its unit ("" for a share), and the digits that are shown."""

    name: str
    label: str
    unit: str = ""
    digits: int = 4
    lower_is_better: bool = False
    shown: bool = True  # in the table of an evaluation; the files hold all

    @property
    def title(self) -> str:
        """The label with its unit, as in ``HD95 in mm``."""
        return f"{self.label} in {self.unit}" if self.unit else self.label


TABLE: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice"),
        Metric("hd95", "HD95", MM, 2, lower_is_better=True),
        Metric("hd", "HD", MM, 2, lower_is_better=True, shown=False),
        Metric("assd", "ASSD", MM, 2, lower_is_better=True),
        Metric("nsd", "NSD"),
        Metric("boundary_dice", "boundary Dice", shown=False),
        Metric("auroc", "AUROC"),
        Metric("auprc", "AUPRC"),
        Metric("accuracy", "accuracy"),
        Metric("log_loss", "log loss", lower_is_better=True),
    )
}


def find_metric(name: str, known: Iterable[str] = TABLE) -> Metric:
    """Return a metric of the table. Raises InputError, with the nearest of the ``known`` names, for any other."""
    known = [each for each in TABLE if each in set(known)]
    if name not in known:
        raise InputError(f"metric {name}: unknown; {nearest(name, known)}")
    return TABLE[name]


def key_metric(name: str) -> Metric:
    """Return the metric behind the name that an evaluator gives its key metric: ``val_mean_dice`` is ``dice``.

    Raises InputError where the table has none of this name.
    """
    return find_metric(name.removeprefix("val_").removeprefix("mean_"))


def metrics_in(names: Iterable[str]) -> list[Metric]:
    """Return the metrics of the table that are among the names, in the table's order."""
    there = set(names)
    return [metric for metric in TABLE.values() if metric.name in there]
