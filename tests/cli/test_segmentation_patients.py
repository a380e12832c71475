"""Segmenting frames of patients: ejection fractions across frames, calls and folders, and nominal volumes."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartseg.cli.segmentation import segment_scans
from heartseg.errors import InputError

SIZE = (10.0, 10.0, 10.0)  # mm: a voxel is a mL
BUNDLE = """
imports: [$import heartseg, $import monai]
bundle_root: .
inputs: null
output_dir: masks
overwrite: false
weights: none.pt
nominal_spacing: [10.0, 10.0, 10.0]  # [null] mm
device: cpu
amp: false
classes: {crescent: 1, wall: 2, cavity: 3}
parts: {left: cavity, right: crescent, myocardium: wall}
patients: {_target_: heartseg.inference.Ventricles, classes: "@parts", nominal_spacing: "@nominal_spacing"}
network: $torch.nn.Identity()
preprocessing: {_target_: heartseg.data.LoadScand, keys: image}
inferer: "$lambda image, network: network(image)"
postprocessing: "$lambda data: data"
saving: {_target_: heartseg.data.SaveMaskd, keys: pred, output_dir: "@output_dir"}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that predicts the labels contained in the scans of these tests."""
    folder = tmp_path / "labels"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text(BUNDLE)
    return folder


def frame(path: Path, crescent: int, wall: int, cavity: int, origin: float = 0.0, size: Sequence[float] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.repeat(np.arange(4, dtype=np.int16), [640 - crescent - wall - cavity, crescent, wall, cavity])
    affine = np.diag([*size, 1])
    affine[0, 3] = origin
    nib.save(nib.Nifti1Image(labels.reshape(10, 8, 8), affine), path)
    return path


def patient_output(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the printed lines about patients."""
    return [line for line in capsys.readouterr().out.splitlines() if "EF" in line or "ejection" in line]


def rows(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "clinical.csv", newline="", encoding="utf-8") as file:
        return {row["patient"]: row for row in csv.DictReader(file)}


EXPECTED = (
    "a: LV EDV 150.0 mL, ESV 60.0 mL, EF 60.0 %; RV EDV 160.0 mL, ESV 80.0 mL, EF 50.0 %; myocardium 105 g"
    " (nominal spacing)"
)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    frame(tmp_path / "scans" / "a_frame01.nii.gz", 80, 110, 60)
    frame(tmp_path / "scans" / "a_frame02.nii.gz", 160, 100, 150)
    return tmp_path / "scans"


def test_two_frames_of_a_patient(bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert segment_scans(bundle, [scans], out) == 0
    first, second, patient, summary = capsys.readouterr().out.splitlines()
    volumes = "crescent 80.0 mL, wall 110.0 mL, cavity 60.0 mL (nominal spacing), "
    assert first.startswith(f"{out / 'a_frame01.nii.gz'}: {volumes}")
    assert (patient, summary) == (EXPECTED, "2 segmented")
    row = rows(out)["a"]
    assert (row["frames"], row["ed"], row["es"], row["nominal"]) == ("2", "a_frame02", "a_frame01", "yes")
    assert (row["lv_ef_percent"], row["rv_sv_ml"], row["lv_mass_g"], row["lv_ml"]) == ("60.0", "80.0", "105.0", "")
    assert row["phases_by"] == "larger left ventricle"
    records = json.loads((out / "segmentation.json").read_text())
    assert [(name, record["nominal"], record["phase"]) for name, record in records.items()] == [
        ("a_frame01.nii.gz", True, None),
        ("a_frame02.nii.gz", True, None),
    ]


def test_a_call_that_skips_all_prints_it_again(
    bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment_scans(bundle, [scans], tmp_path / "out")
    table = (tmp_path / "out" / "clinical.csv").read_text()
    capsys.readouterr()
    segment_scans(bundle, [scans], tmp_path / "out")
    assert patient_output(capsys) == [EXPECTED]
    assert (tmp_path / "out" / "clinical.csv").read_text() == table


def test_masks_without_records_are_reported(
    bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment_scans(bundle, [scans], tmp_path / "out")
    (tmp_path / "out" / "segmentation.json").unlink()
    capsys.readouterr()
    segment_scans(bundle, [scans], tmp_path / "out")
    lines = patient_output(capsys)
    assert len(lines) == 2 and all(
        "its volumes are unknown, so no ejection fraction; --overwrite" in line for line in lines
    )


def test_a_single_frame_gives_volumes(
    bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment_scans(bundle, [scans / "a_frame01.nii.gz"], out)
    [line] = patient_output(capsys)
    assert line.startswith("a: no ejection fraction without both end-diastole and end-systole; name a patient's two")
    row = rows(out)["a"]
    assert (row["frames"], row["lv_ml"], row["rv_ml"], row["myocardium_ml"]) == ("1", "60.0", "80.0", "110.0")
    assert (row["lv_edv_ml"], row["lv_ef_percent"], row["phases_by"]) == ("", "", "")
    # The other frame follows in another call.
    segment_scans(bundle, [scans / "a_frame02.nii.gz"], out)
    assert patient_output(capsys) == [EXPECTED]


def test_all_patients_of_a_folder_are_in_its_table(
    bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment_scans(bundle, [scans], out)
    capsys.readouterr()
    others = [frame(tmp_path / f"{name}.nii.gz", 9, 9, 9) for name in ("e", "b", "d", "c")]
    segment_scans(bundle, others, out)
    [line] = patient_output(capsys)  # of the scans of this call, sorted
    assert line.startswith("b, c, d and 1 more: no ejection fraction")
    assert list(rows(out)) == ["a", "b", "c", "d", "e"]
    (out / "a_frame01.nii.gz").unlink()  # a deleted mask no longer counts
    segment_scans(bundle, others, out)
    assert rows(out)["a"]["frames"] == "1"


def test_the_phases_are_those_of_info_cfg(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With an Info.cfg in its folder, the header is trusted too."""
    folder = tmp_path / "patient001"
    scans = [
        frame(folder / "patient001_frame01.nii.gz", 100, 50, 100),
        frame(folder / "patient001_frame12.nii.gz", 100, 50, 200),
    ]
    (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\n")
    segment_scans(bundle, scans, tmp_path / "out")
    [line] = patient_output(capsys)
    assert line.startswith("patient001: LV EDV 100.0 mL, ESV 200.0 mL, EF -100.0 %; RV EDV 100.0 mL")
    assert line.endswith(
        "; myocardium 52 g (the left ventricle is larger at end-systole: are ED and ES swapped in Info.cfg?)"
    )
    row = rows(tmp_path / "out")["patient001"]
    assert (row["phases_by"], row["nominal"]) == ("Info.cfg", "no")


def test_a_broken_info_cfg_is_refused_at_once(bundle: Path, tmp_path: Path) -> None:
    scan = frame(tmp_path / "patient001" / "patient001_frame01.nii.gz", 100, 50, 100)
    scan.with_name("Info.cfg").write_text("ED: 1\nES: 1\n")
    with pytest.raises(InputError, match="Info.cfg: "):
        segment_scans(bundle, [scan], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_headers_can_be_trusted(
    bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment_scans(bundle, [scans], tmp_path / "out", settings={"nominal_spacing": None})
    assert "nominal" not in capsys.readouterr().out
    assert rows(tmp_path / "out")["a"]["nominal"] == "no"


def test_a_true_header_is_not_nominal(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = frame(tmp_path / "a_frame01.nii.gz", 9, 9, 9, origin=-120.0)
    segment_scans(bundle, [scan], tmp_path / "out")
    assert "nominal" not in capsys.readouterr().out


def test_an_empty_ventricle_has_no_ejection_fraction(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = [frame(tmp_path / f"a_frame0{number}.nii.gz", 10 * number, 9, 0) for number in (1, 2)]
    segment_scans(bundle, scans, tmp_path / "out")
    [line] = patient_output(capsys)
    assert line.startswith("a: LV EDV 0.0 mL, ESV 0.0 mL, EF -; RV EDV 10.0 mL, ESV 20.0 mL, EF -100.0 %")


def test_ejection_fractions_are_computed_from_unrounded_volumes(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Voxels of a third of a microlitre: 10 and 5 of them, rounded as in tables, would be 3 and 2 uL, 33.3 %."""
    for number, cavity in ((1, 10), (2, 5)):  # in separate calls: the first is read from the records
        scan = frame(tmp_path / f"a_frame0{number}.nii.gz", 0, 0, cavity, size=(0.7, 0.7, 0.7))
        segment_scans(bundle, [scan], tmp_path / "out")
    assert "EF 50.0 %" in patient_output(capsys)[-1]
    row = rows(tmp_path / "out")["a"]
    assert (row["lv_edv_ml"], row["lv_esv_ml"], row["lv_ef_percent"]) == ("0.003", "0.002", "50.0")


def test_masks_of_another_bundle_in_the_folder_are_ignored(
    bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame(tmp_path / "out" / "b.nii.gz", 9, 9, 9)
    records = {"b.nii.gz": {"millilitres": {"left_atrium": 80.0}}}
    (tmp_path / "out" / "segmentation.json").write_text(json.dumps(records))
    segment_scans(bundle, [scans], tmp_path / "out")
    assert patient_output(capsys) == [EXPECTED] and list(rows(tmp_path / "out")) == ["a"]


def test_a_bundle_without_ventricles_reports_no_patients(
    bundle: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = bundle / "configs" / "inference.yaml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(("parts", "patients", "nominal"))]
    config.write_text("\n".join(lines))
    segment_scans(bundle, [scans], tmp_path / "out")
    text = capsys.readouterr().out
    assert "EF" not in text and "nominal" not in text
    assert not (tmp_path / "out" / "clinical.csv").exists()
    records = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert not any({"phase", "nominal"} & set(record) for record in records.values())


def test_ventricles_that_are_not_classes_are_refused(bundle: Path, scans: Path, tmp_path: Path) -> None:
    config = bundle / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("left: cavity", "left: ventricle"))
    with pytest.raises(InputError, match="^parts: left: 'ventricle' is not a class"):
        segment_scans(bundle, [scans], tmp_path / "out")
