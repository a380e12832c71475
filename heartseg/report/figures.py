"""Colours, legends and saving of figures.

Everything is drawn on ``Figure`` objects, without pyplot's global state, so a handler may draw from any thread and no
figure is left open. The colours are those of Okabe and Ito, which colour-blind people can distinguish.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from heartseg.data.files import atomic
from heartseg.errors import InputError

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"


def save(figure: Figure, path: str | os.PathLike[str], dpi: int = 110) -> None:
    """Write a figure atomically; the suffix of ``path`` is the format. Raises as `check_picture`."""
    check_picture(path)
    FigureCanvasAgg(figure)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def line_handles(styles: Mapping[str, Mapping[str, Any]]) -> list[Line2D]:
    """Return legend handles of lines: label and style."""
    return [Line2D([], [], label=label, **style) for label, style in styles.items()]


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Draw a legend in one row below the axes; nothing without handles."""
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise InputError for a folder, or a suffix that is not a picture format."""
    known = FigureCanvasAgg.get_supported_filetypes()
    if Path(path).is_dir() or Path(path).suffix[1:].lower() not in known:
        raise InputError(f"{path}: is not the name of a picture; give one that ends in .{', .'.join(sorted(known))}")
