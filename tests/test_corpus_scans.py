"""Every broken scan and label of the corpus, with every command: one line each, and the others are processed."""

import os
import re
import signal
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from answers import refused, tree
from corpus import FILES, IMAGES, LABELS, LINKS, Broken, dataset, image, save
from every_bundle import each_name, options, small

from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.config.config_errors import readable
from heartseg.errors import InputError

SCANS = FILES + IMAGES + LINKS
WHOLE = (
    "gzip cut in its middle",
    "NaN",
    "link to itself",
    "labels 0 and 255",
)  # the others: `make proof`
SMALL = ["--overlay", "demo", "--set", "spacing=[8, 8, 8]", "--set", "roi_size=[32, 32, 32]"]
LONGEST = 1200  # seconds that any answer may take

faults = pytest.mark.parametrize("fault", [*SCANS, *LABELS], ids=lambda fault: fault.name)


@pytest.fixture(autouse=True)
def no_hang():
    """Fail instead of waiting for ever."""
    if sys.platform == "win32":
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer within {LONGEST} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def file_name(fault: Broken) -> str:
    return re.sub(r"\W+", "_", fault.name) + ".nii.gz"


def is_one_remedy(line: str, path: Path, fault: Broken) -> None:
    """Check that the line names the file, says what is wrong, and then how to fix it."""
    assert line.startswith(f"{path}: ") and fault.said in line and ";" in line, line


@pytest.fixture(scope="module")
def bad_scans(tmp_path_factory) -> Path:
    """A plain folder of every broken scan, with a sound one before and one after them; read only."""
    folder = tmp_path_factory.mktemp("scans")
    for number, name in enumerate(("0_first.nii.gz", "z_last.nii.gz")):
        save(folder / name, image(number))
    for fault in SCANS:
        fault.build(save(folder / file_name(fault), image(2)))
    return folder


def test_check_names_each_broken_scan_once(bad_scans, heartseg):
    before = tree(bad_scans)
    status, out, err = heartseg("check", bad_scans)
    errors = [line.removeprefix("error: ") for line in out.splitlines() if line.startswith("error: ")]
    assert status == 2 and "Traceback" not in err
    assert len(errors) == len(SCANS)
    for fault in SCANS:
        (line,) = [line for line in errors if line.startswith(f"{bad_scans / file_name(fault)}: ")]
        is_one_remedy(line, bad_scans / file_name(fault), fault)
    assert tree(bad_scans) == before


@each_name
def test_segment_reports_each_broken_scan_and_does_the_others(bundle, bad_scans, seeded, heartseg, tmp_path):
    before = tree(bad_scans)
    words = ["segment", bundle, bad_scans, *options(small(bundle)), "--weights", seeded[bundle]]
    status, out, err = heartseg(*words, "--out", tmp_path / "masks")
    lines = [line.removeprefix("heartseg: ") for line in err.splitlines() if line.startswith("heartseg: ")]
    assert status == 2 and "Traceback" not in err
    assert len(lines) == len(SCANS)
    for fault in SCANS:
        (line,) = [line for line in lines if line.startswith(f"{bad_scans / file_name(fault)}: ")]
        is_one_remedy(line, bad_scans / file_name(fault), fault)
    masks = sorted(path.name for path in (tmp_path / "masks").iterdir() if path.suffix == ".gz")
    assert masks == ["0_first.nii.gz", "z_last.nii.gz"]
    assert not list(tmp_path.rglob(".partial-*"))
    assert out.splitlines()[-1] == f"2 segmented, {len(SCANS)} could not be segmented"
    assert tree(bad_scans) == before


def damaged(folder: Path, fault: Broken) -> tuple[Path, Path]:
    """A data set of two patients, and which of the files of the second one is broken."""
    part = "labelsTr" if fault in LABELS else "imagesTr"
    path = dataset(folder, 2) / part / "case_1.nii.gz"
    fault.build(path)
    return folder, path


def test_check_names_each_broken_label_once(heartseg, tmp_path):
    dataset(tmp_path, len(LABELS) + 1)
    (tmp_path / "dataset.json").write_text('{"labels": {"0": "background", "1": "left atrium"}}')
    paths = [tmp_path / "labelsTr" / f"case_{number}.nii.gz" for number in range(len(LABELS))]
    for fault, path in zip(LABELS, paths, strict=True):
        fault.build(path)
    before = tree(tmp_path)
    status, out, _ = heartseg("check", tmp_path)
    errors = [line.removeprefix("error: ") for line in out.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(errors) == len(LABELS)
    for fault, path, line in zip(LABELS, paths, errors, strict=True):
        is_one_remedy(line, path, fault)
    assert tree(tmp_path) == before


@pytest.fixture(scope="module")
def readers():
    """By door, what a case goes through first: the transforms of left_atrium's own configuration."""
    found = {}
    bundle = find_bundle("left_atrium")
    for door, files, identity in (
        ("train", config_files(bundle, "train"), "preprocessing"),
        ("evaluate", config_files(bundle, "inference", ["evaluate"]), "dataset::transform"),
    ):
        settings = {"anatomy": "header", "spacing": [8, 8, 8]}
        config = compose(bundle, files, settings, {"bundle_root": str(bundle), "dataset_dir": ""})
        with chdir(bundle):
            found[door] = config.get_parsed_content(identity)
    return found


@faults
@pytest.mark.parametrize("door", ["train", "evaluate"])
def test_no_broken_case_is_trained_on_or_evaluated(door, fault, readers, tmp_path):
    folder, path = damaged(tmp_path, fault)
    case = {key: str(folder / part / "case_1.nii.gz") for key, part in (("image", "imagesTr"), ("label", "labelsTr"))}
    with pytest.raises(InputError) as info, readable():
        readers[door](case)
    is_one_remedy(str(info.value), path, fault)
    assert "\n" not in str(info.value)


whole = [
    pytest.param(fault, id=fault.name, marks=[] if fault.name in WHOLE else pytest.mark.proof)
    for fault in [*SCANS, *LABELS]
]


@pytest.mark.parametrize("fault", whole)
@pytest.mark.parametrize("door", ["train", "evaluate"])
def test_a_broken_case_ends_the_command_in_one_line(door, fault, seeded, heartseg, tmp_path):
    folder, path = damaged(tmp_path / "data", fault)
    before = tree(folder)
    own = ["--overlay", "quick"] if door == "train" else ["--weights", seeded["left_atrium"]]
    words = [door, "left_atrium", "--data", folder, *SMALL, *own, "--out", tmp_path / "out"]
    line = refused(heartseg(*words, *(["--set", "folds=2"] if door == "train" else [])))
    if fault not in LINKS:  # a listed file that is not there is reported before anything is read
        is_one_remedy(line, path, fault)
    assert line.startswith(f"{path}: ") and ";" in line
    assert tree(folder) == before
    left = {path.name for path in (tmp_path / "out").rglob("*")}
    assert left <= ({"run.lock", "model.json"} if door == "train" else set())


def test_a_file_that_may_not_be_read_is_one_line(heartseg, tmp_path, monkeypatch):
    path = save(tmp_path / "case.nii.gz", image())

    def refuse(name, *rest):
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr("heartseg.data.nifti.open", refuse, raising=False)
    status, out, _ = heartseg("check", tmp_path)
    (line,) = [line for line in out.splitlines() if line.startswith("error: ")]
    assert status == 2
    assert line == f"error: {path}: cannot be read (Permission denied); copy or export it again"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(heartseg, seeded, tmp_path):
    os.mkfifo(tmp_path / "scan.nii.gz")
    words = ["segment", "left_atrium", tmp_path / "scan.nii.gz", *SMALL, "--weights", seeded["left_atrium"]]
    status, out, err = heartseg(*words, "--out", tmp_path / "masks")
    (line,) = [line for line in err.splitlines() if line.startswith("heartseg: ")]
    assert (status, out) == (2, "0 segmented, 1 could not be segmented\n")
    assert line == f"heartseg: {tmp_path / 'scan.nii.gz'}: is a pipe or a device, not a file; give a NIfTI file"
    assert not (tmp_path / "masks").exists()


def test_the_installed_command_ends_with_status_2_and_no_traceback(python, tmp_path):
    command = Path(sys.executable).with_name("heartseg")
    ended = python(command, "train", "left_atrium", "--data", tmp_path / "nowhere", "--out", tmp_path / "run")
    lines = [line for line in ended.stderr.splitlines() if line.startswith("heartseg: ")]
    assert ended.returncode == 2 and len(lines) == 1 and "Traceback" not in ended.stderr
    assert lines[0].startswith(f"heartseg: {tmp_path / 'nowhere'}: there is no such folder; ")
    assert not (tmp_path / "run").exists()
