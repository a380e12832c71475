"""Bundles that learned something, for the tests that need one, and what they learned it from."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.phantoms.writing import write_phantoms

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "left_atrium"


@pytest.fixture(scope="session")
def learned(phantoms, python, tmp_path_factory) -> Path:
    """The folder of a run that learned something: some 80 steps, through `python -m monai.bundle run`."""
    out = tmp_path_factory.mktemp("learned") / "run"
    files = "['configs/train.yaml','configs/demo.yaml','configs/quick.yaml']"
    words = ["run", "training", "--config_file", files, "--dataset_dir", phantoms, "--output_dir", out]
    words += ["--epochs", 10, "--patches_per_case", 4, "--val_interval", 5, "--warmup_steps", 5]
    ended = python("-m", "monai.bundle", *words, cwd=BUNDLE)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out


@pytest.fixture(scope="session")
def cines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small cine phantoms, two frames each, in ACDC's own layout; read only."""
    return write_phantoms(tmp_path_factory.mktemp("cines") / "data", kind="cine", cases=4, seed=1, size="small")


@pytest.fixture(scope="session")
def learned_cines(cines, python, tmp_path_factory) -> Path:
    """The folder of a run of ventricles that learned something: 72 steps, through `python -m monai.bundle run`."""
    out = tmp_path_factory.mktemp("learned_cines") / "run"
    files = "['configs/train.yaml','configs/quick.yaml']"
    words = ["run", "training", "--config_file", files, "--dataset_dir", cines, "--output_dir", out]
    words += ["--spacing", "[4.0,4.0]", "--input_size", "[48,48]", "--epochs", 6, "--slices_per_frame", 16]
    words += ["--batch_size", 8, "--val_interval", 3, "--warmup_steps", 6, "--learning_rate", 0.006]
    for knob in ("affine", "rotate90", "reverse", "artifact"):  # the same hearts again and again are learned sooner
        words += [f"--{knob}_probability", 0.0]
    ended = python("-m", "monai.bundle", *words, cwd=find_bundle("ventricles"))
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out


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
