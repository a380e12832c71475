"""A trained left_atrium, for the tests that need one."""

from pathlib import Path

import pytest

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
