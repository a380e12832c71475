"""How figures are saved, and their colours.

Everything is drawn on ``Figure`` objects: pyplot's global state stays untouched, so a handler may draw from
any thread and no figure is ever left open. Colours are those of Okabe and Ito, which colour-blind people can
tell apart.
"""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from heartseg.data.files import atomic
from heartseg.errors import InputError

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"


def save(figure: Figure, path: str | os.PathLike[str], dpi: int = 110) -> None:
    """Write a figure whole or not at all; the suffix of ``path`` chooses the format. Raises as `check_picture`."""
    check_picture(path)
    FigureCanvasAgg(figure)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise InputError for a folder, or a suffix that names no format of a picture."""
    known = FigureCanvasAgg.get_supported_filetypes()
    if Path(path).is_dir() or Path(path).suffix[1:].lower() not in known:
        raise InputError(f"{path}: is no name of a picture; give one that ends in .{', .'.join(sorted(known))}")
