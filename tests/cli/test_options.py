"""Options that commands share: settings of --set and --run, and the source that an error names."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartseg.cli.options import blamed_on
from heartseg.errors import InputError

UNKNOWN = "depth: the configuration has no such id; did you mean width?"
NEEDED = "this configuration must take what the weights need"


@pytest.mark.parametrize(
    ("run", "set_", "line"),
    [
        (None, ["depth=3"], f"--set {UNKNOWN}"),
        (Path("run"), ["width=1", " depth =3"], f"--set {UNKNOWN}"),
        (Path("run"), ["width=1"], f"{Path('run/config.yaml')}: {UNKNOWN}; {NEEDED}"),
    ],
)
def test_an_error_names_where_a_setting_comes_from(run: Path | None, set_: list[str], line: str) -> None:
    with pytest.raises(InputError) as info, blamed_on(run, set_):
        raise InputError(f"--set {UNKNOWN}")
    assert str(info.value) == line


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(InputError, match="^scan.nii: is empty$"), blamed_on(Path("run"), None):
        raise InputError("scan.nii: is empty")
