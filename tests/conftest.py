"""Fixtures for all tests."""

import gc
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from every_bundle import BUNDLES, ROOT
from filelock import FileLock

os.environ.setdefault("MPLBACKEND", "Agg")  # no screen is needed to draw


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the long tests, except under ``make proof``, and order the files so that all workers end together.

    What trains comes first. Of the files that need a bundle that learned something, the first starts at once and the
    others come last, so that no worker waits for another one's training.
    """
    if not os.environ.get("HEARTSEG_PROOF"):
        for item in items:
            if item.get_closest_marker("proof"):
                item.add_marker(pytest.mark.skip(reason="takes long: `make proof` runs it"))
    users: dict[str, list[Path]] = {}
    for item in items:
        for name in getattr(item, "fixturenames", ()):
            if name.startswith("learned") and item.path not in users.setdefault(name, []):
                users[name].append(item.path)
    first = {paths[0] for paths in users.values()}
    others = {path for paths in users.values() for path in paths} - first

    def place(item: pytest.Item) -> int:
        if "bundles" not in item.path.parts:
            return 3
        return 0 if item.path in first else 2 if item.path in others else 1

    items.sort(key=place)


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
    if multiprocessing.active_children():
        end_workers()


def end_workers() -> None:
    """End the workers of data loaders whose training is over; the garbage collector would wait 5 s for each of them."""
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    for iterator in gc.get_objects():
        if type(iterator) is _MultiProcessingDataLoaderIter:
            iterator._shutdown_workers()


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Build a folder once for all workers of pytest-xdist: ``once("name", build)`` returns it; read only.

    The first worker that asks calls ``build(folder)``, and the others wait for it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the folder of all workers

    def call(name: str, build: Callable[[Path], object]) -> Path:
        folder, done = base / f"once-{name}", base / f"once-{name}.done"
        with FileLock(base / f"once-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                build(folder)
                done.touch()
        return folder

    return call


@pytest.fixture(scope="session")
def phantoms_of(once) -> Callable[[str], Path]:
    """Labelled small phantoms by kind: six atria (and a seventh without label), four of any other kind; read only."""
    from heartseg.phantoms.writing import write_phantoms

    def build(kind: str, folder: Path) -> None:
        write_phantoms(folder / "data", kind=kind, cases=6 if kind == "atrium" else 4, seed=1, size="small")

    return lambda kind: once(f"phantoms-{kind}", partial(build, kind)) / "data"


@pytest.fixture(scope="session")
def phantoms(phantoms_of) -> Path:
    """Six labelled atria and one without label, in Decathlon layout."""
    return phantoms_of("atrium")


@pytest.fixture(scope="session")
def cines(phantoms_of) -> Path:
    """Four cine phantoms, two frames each, in ACDC's own layout."""
    return phantoms_of("cine")


@pytest.fixture(scope="session")
def seeded(once) -> dict[str, Path]:
    """Weights that fit and learned nothing, by bundle."""
    import torch
    from monai.bundle import ConfigParser

    def build(folder: Path) -> None:
        for bundle in BUNDLES:
            parser = ConfigParser()
            parser.read_config(bundle / "configs" / "inference.yaml")
            with torch.random.fork_rng():
                torch.manual_seed(0)
                network = parser.get_parsed_content("network_def")
            torch.save(network.state_dict(), folder / f"{bundle.name}.pt")

    folder = once("seeded", build)
    return {bundle.name: folder / f"{bundle.name}.pt" for bundle in BUNDLES}


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
