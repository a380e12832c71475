"""What every test may use."""

import logging
import os
import subprocess
import sys
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


@pytest.fixture(autouse=True)
def same_process(monkeypatch):
    """Undo what a run in this process leaves behind: log handlers, the hook for errors, sys.path, the folder."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(Path.cwd())
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """Six labelled small phantoms and one without label, in Decathlon layout; read only."""
    from heartseg.phantoms.writing import write_phantoms

    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "data", cases=6, seed=1, size="small")


@pytest.fixture(scope="session")
def seeded(tmp_path_factory) -> dict[str, Path]:
    """By bundle, weights that fit it and learned nothing."""
    import torch
    from monai.bundle import ConfigParser

    paths = {}
    for name in ("left_atrium", "ventricles"):
        parser = ConfigParser()
        parser.read_config(ROOT / "bundles" / name / "configs" / "inference.yaml")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = parser.get_parsed_content("network_def")
        paths[name] = tmp_path_factory.mktemp("weights") / "seeded.pt"
        torch.save(network.state_dict(), paths[name])
    return paths


@pytest.fixture(scope="session")
def seeded_weights(seeded) -> Path:
    """Weights that fit left_atrium and learned nothing."""
    return seeded["left_atrium"]


@pytest.fixture
def heartseg(monkeypatch, capsys):
    """Call the command line in this process: ``heartseg("check", folder)`` gives (status, stdout, stderr)."""
    from heartseg.cli.app import main

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["heartseg", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
        return status, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def python():
    """Run Python in a process of its own: ``python("-m", "monai.bundle", ...)``."""

    def call(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500)

    return call
