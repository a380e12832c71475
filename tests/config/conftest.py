"""A bundle of one small configuration."""

from pathlib import Path

import pytest

TINY = """
imports: [$import pathlib]
knob: 1
open: {}
nested: {inner: 2}
copied: "%configs/inference.yaml::nested"
double: "$2 * @knob"
answers: []
run: ["$pathlib.Path('answers.txt').write_text(repr(@answers))"]
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A bundle of one small configuration, in a folder whose name has to be quoted in a shell."""
    folder = tmp_path / "it's a bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text(TINY)
    (folder / "configs" / "first.yaml").write_text("knob: 10\nnested: {inner: 10}\n")
    (folder / "configs" / "second.yaml").write_text("knob: 20\n")
    return folder
