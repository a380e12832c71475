"""The summary of a training run as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def summary_markdown(summary: Mapping[str, Any], picture: str) -> str:
    """Return the text of ``run_summary.md`` from the content of ``run_summary.json`` and the path of a picture."""
    best, source, cases = summary["best"], summary["provenance"], summary["cases"]
    heartseg = f"heartseg {source['heartseg']}" + (f" ({source['commit']})" if source["commit"] else "")
    peak = (f"{name} {gib:.2f} GiB" for name, gib in summary["peak_memory_gib"].items())
    rows: dict[str, Any] = {
        "status": ": ".join(filter(None, (summary["status"], summary["stop_reason"]))),
        "best": f"{best['metric']} {best['value']:.4f} at epoch {best['epoch']}" if best else None,
        "epochs": f"{summary['epochs']} of {summary['max_epochs']}",
        "time": f"{summary['minutes']:.1f} minutes",
        "cases": ", ".join(f"{count} {part}" for part, count in cases.items() if count is not None) or None,
        "network": f"{summary['parameters']:,} parameters",
        "machine": f"{summary['device']}, {summary['precision']}, {summary['workers']} workers",
        "peak memory": ", ".join(peak),
        "seed": summary["seed"],
        "made with": f"{heartseg}, MONAI {source['monai']}, PyTorch {source['torch']}",
    }
    if source["weights"]:
        rows["weights"] = f"{source['weights']['file']}, SHA-256 {source['weights']['sha256']}"
    if summary["not_finite"]:
        rows["not a finite number"] = "epochs " + ", ".join(map(str, summary["not_finite"]))
    lines = ["# Training run", "", *_table(rows), "", f"![Curves of the run]({picture})", ""]
    if summary["settings"]:
        lines += ["## Settings", "", *_table(summary["settings"]), ""]
    return "\n".join(lines)


def _table(rows: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table; None becomes a dash, and bars and line breaks are escaped."""
    lines = ["| what | value |", "| --- | --- |"]
    for name, value in rows.items():
        cells = ("-" if cell is None else " ".join(str(cell).replace("|", "\\|").split()) for cell in (name, value))
        lines.append(f"| {' | '.join(cells)} |")
    return lines
