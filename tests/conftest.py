"""What every test may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")  # no screen is needed to draw

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scans: ``HEARTSEG_DATA``, or ``../shared/data`` beside the project. Skips without it."""
    folder = Path(os.environ.get("HEARTSEG_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} is not a folder (set HEARTSEG_DATA)")
    return folder
