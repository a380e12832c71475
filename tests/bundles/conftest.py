"""Bundles that learned something, for the tests that need one, and what they learned it from."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from faults import monai_bundle, wait

from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose


def train(python: Callable[..., CompletedProcess[str]], bundle: str, overlays: list[str], *words: object) -> None:
    """Train a bundle through `python -m monai.bundle run`."""
    files = [f"configs/{name}.yaml" for name in ("train", *overlays)]
    ended = python("-m", "monai.bundle", "run", "training", "--config_file", files, *words, cwd=find_bundle(bundle))
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.fixture(scope="session")
def monai_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, str]]:
    """Call ``python -m monai.bundle run`` in a forked process: ``monai_run("ventricles", "evaluating", ...)``.

    The call gives the status and the output.
    """
    log = tmp_path_factory.mktemp("monai") / "log"

    def call(bundle: str, *words: object) -> tuple[int, str]:
        log.unlink(missing_ok=True)
        status = wait(monai_bundle(find_bundle(bundle), ["run", *words], log))
        return status, log.read_text(encoding="utf-8")

    return call


@pytest.fixture(scope="session")
def learned(phantoms, python, once) -> Path:
    """The folder of a run of left_atrium that learned something in 80 steps."""

    def build(folder: Path) -> None:
        words = ["--dataset_dir", phantoms, "--output_dir", folder / "run", "--epochs", 10]
        words += ["--patches_per_case", 4, "--val_interval", 5, "--warmup_steps", 5]
        train(python, "left_atrium", ["demo", "quick"], *words)

    return once("learned", build) / "run"


@pytest.fixture(scope="session")
def learned_cines(cines, python, once) -> Path:
    """The folder of a run of ventricles that learned something in 72 steps."""

    def build(folder: Path) -> None:
        words = ["--dataset_dir", cines, "--output_dir", folder / "run", "--epochs", 6, "--slices_per_frame", 16]
        words += ["--spacing", "[4.0,4.0]", "--input_size", "[48,48]", "--batch_size", 8, "--val_interval", 3]
        words += ["--warmup_steps", 6, "--learning_rate", 0.006]
        for knob in ("affine", "rotate90", "reverse", "artifact"):  # the same hearts again and again: learned sooner
            words += [f"--{knob}_probability", 0.0]
        train(python, "ventricles", ["quick"], *words)

    return once("learned-cines", build) / "run"


@pytest.fixture(scope="session")
def parts(cines, tmp_path_factory) -> Callable[..., Callable[[str], Any]]:
    """Training of ventricles, taken apart: ``parts(epochs=2)("optimizer")`` is what this id becomes."""

    def build(**settings: Any) -> Callable[[str], Any]:
        bundle, out = find_bundle("ventricles"), tmp_path_factory.mktemp("parts")
        paths = {"dataset_dir": str(cines), "output_dir": str(out)}
        config = compose(bundle, config_files(bundle, "train"), settings, paths)

        def get(identity: str) -> Any:
            with chdir(bundle):
                return config.get_parsed_content(identity)

        return get

    return build
