"""Options that name an output: refused before anything is computed if it could not be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def _path(text: str | Path) -> Path:
    if not str(text):  # Path("") is the current folder
        raise typer.BadParameter("is empty; name a folder or a file")
    return Path(text)


def _check_folder(folder: Path | None) -> Path | None:
    from heartseg.data.files import writable_folder  # slow to import

    return folder if folder is None else writable_folder(folder)


def _check_file(file: Path) -> Path:
    _check_folder(file.parent)
    return file


# Arguments of typer.Option and typer.Argument. Typer makes a usage error of a ValueError in a parser, such as
# InputError, hence the callbacks.
FOLDER: dict[str, Any] = {"parser": _path, "metavar": "PATH", "callback": _check_folder}
FILE: dict[str, Any] = {"parser": _path, "metavar": "PATH", "callback": _check_file}
