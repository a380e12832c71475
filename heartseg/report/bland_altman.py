"""Bland-Altman plots: difference of two measurements against their mean (Bland & Altman, 1986)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heartseg.report.figures import BLUE, VERMILION, legend_below, line_handles
from heartseg.results.patient_tables import measure_title

PANELS = ("lv_ef_percent", "rv_ef_percent", "lv_edv_ml", "lv_mass_g")
UNSEEN: dict[str, Any] = {"color": BLUE, "marker": "o", "linestyle": "none", "markersize": 5.5}
SEEN: dict[str, Any] = {**UNSEEN, "markerfacecolor": "none"}
BIAS: dict[str, Any] = {"color": VERMILION, "linewidth": 1.4}
LIMIT: dict[str, Any] = {"color": VERMILION, "linewidth": 1.1, "linestyle": "--"}


def draw_bland_altman(report: Mapping[str, Any]) -> Figure:
    """Plot mask - truth against the mean of both for some measures, with bias and limits of agreement.

    The lines refer to the same patients as the report's means: the unseen ones, if there are any.

    Args:
        report: content of the ``clinical.json`` of `heartseg.handlers.ClinicalReport`.
    """
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    for axes, measure in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        _panel(axes, report, measure)
    seen = {bool(row["seen"]) for row in report["patients"]}
    styles = {"unseen patient": UNSEEN} if False in seen else {}
    styles |= {"seen in training": SEEN} if True in seen else {}
    legend_below(figure, line_handles({**styles, "bias": BIAS, "limits of agreement": LIMIT}))
    return figure


def _panel(axes: Axes, report: Mapping[str, Any], measure: str) -> None:
    found = report["agreement"][report["averaged_over"]["which"]][measure]
    unit, name = found["unit"], measure_title(measure)
    for row in report["patients"]:
        pred, truth = row[f"{measure}_pred"], row[f"{measure}_truth"]
        if pred is not None and truth is not None:
            axes.plot([(pred + truth) / 2], [pred - truth], **(SEEN if row["seen"] else UNSEEN))
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    for key, style in (("bias", BIAS), ("lower", LIMIT), ("upper", LIMIT)):
        if found[key] is not None:
            axes.axhline(found[key], zorder=1, **style)
            axes.annotate(
                f"{found[key]:+.1f}",
                (1, found[key]),
                xycoords=axes.get_yaxis_transform(),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color=VERMILION,
            )
    axes.set(
        title=f"{name}, n = {found['n']}",
        xlabel=f"mean of mask and truth, {unit}",
        ylabel=f"mask - truth, {unit}",
    )
    axes.margins(0.12)
    axes.grid(alpha=0.25)
