"""Segmenting folders: scans are never overwritten, and a bad one does not stop the others."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartseg.cli.segmentation import segment_scans
from heartseg.data.scans import list_scans
from heartseg.errors import InputError
from heartseg.training.run_folder import new_run

SETTINGS = {"anatomy": "header", "spacing": [4, 4, 4], "roi_size": [32, 32, 32]}


def scan(path: Path, spacing: float = 4.0) -> Path:
    voxels = np.random.RandomState(0).randint(1, 500, (24, 20, 16)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([spacing, spacing, spacing, 1])), path)
    return path


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_scan_is_never_replaced_by_its_mask(tmp_path: Path, seeded_weights: Path, overwrite: bool) -> None:
    path = scan(tmp_path / "a.nii.gz")
    before = path.read_bytes()
    with pytest.raises(InputError, match="would replace the scan itself"):
        segment_scans("left_atrium", [path], tmp_path, overwrite, seeded_weights, settings=SETTINGS)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="would replace the scan itself"):
        list_scans([path], skip_done=tmp_path)


def test_scans_that_are_not_in_mm_do_not_stop_the_others(
    tmp_path: Path, seeded_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    scan(folder / "a.nii.gz", spacing=2000)  # micrometres
    scan(folder / "b.nii.gz", spacing=0.002)  # metres
    scan(folder / "c.nii.gz")
    failed = segment_scans("left_atrium", [folder], tmp_path / "masks", False, seeded_weights, settings=SETTINGS)
    assert failed == 2
    assert [path.name for path in (tmp_path / "masks").glob("*.nii.gz")] == ["c.nii.gz"]
    err = capsys.readouterr().err
    assert "a.nii.gz: spacing 2000 x 2000 x 2000 is not in mm" in err
    assert "b.nii.gz: spacing 0.002 x 0.002 x 0.002 is not in mm" in err


def test_a_scan_given_twice_is_one_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scan(tmp_path / "a.nii.gz")
    monkeypatch.chdir(tmp_path)
    assert len(list_scans(["a.nii.gz", "./a.nii.gz", path])) == 1


def test_cases_that_trained_the_initial_weights_count_as_seen(tmp_path: Path) -> None:
    def case(name: str) -> dict[str, str]:
        return {"id": name, "patient": name, "image": name, "label": name}

    new_run(tmp_path / "one", [case("a")], [case("b")])
    new_run(tmp_path / "two", [case("b")], [case("a")], tmp_path / "one" / "model.pt")
    text = (tmp_path / "two" / "model.json").read_text()
    assert '"train": [\n    "b",\n    "a"\n  ]' in text


def test_several_processes_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="^torchrun: segment runs in one process; start it without"):
        segment_scans("left_atrium", [tmp_path], tmp_path / "out")
