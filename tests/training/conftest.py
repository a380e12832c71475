"""Trainings that were never stopped, to compare resumed ones with."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import KINDS, Toy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs that were never stopped: five epochs of four steps, validated after 2, 4 and 5."""
    folders = {kind: tmp_path_factory.mktemp("whole") for kind in KINDS}
    for kind, folder in folders.items():
        Toy(folder, kind=kind).run()
    return folders
