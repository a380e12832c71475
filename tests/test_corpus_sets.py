"""Broken data sets and configurations: one line from every command, and no files left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from answers import refused, tree
from corpus import FILES, IMAGES, LABELS, LINKS, dataset, image, label, save

from heartseg.config.bundles import bundle_names, config_files, find_bundle
from heartseg.config.composition import compose, settings_of_run
from heartseg.errors import InputError

PAIR = {"image": "./imagesTr/case_0.nii.gz", "label": "./labelsTr/case_0.nii.gz"}


class Set(NamedTuple):
    """``at``: the file or folder that must be named, within the data set; ``check``: what check says, if it differs."""

    name: str
    build: Callable[[Path], object]
    at: str
    said: str
    check: str | None = None
    doors: str = "check train evaluate"


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def gone(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def _looped(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)


def _patient(folder: Path) -> None:
    shutil.rmtree(folder)
    for number in (1, 2, 3, 4):
        patient = folder / f"patient00{number}"
        for frame in (1, 7):
            save(patient / f"{patient.name}_frame0{frame}.nii.gz", image(number))
            save(patient / f"{patient.name}_frame0{frame}_gt.nii.gz", label())
        (patient / "Info.cfg").write_text("ED: 1\nES: 7\n" if number != 2 else "ED: one\nES: 7\n")


SETS = [
    Set("label missing", gone("labelsTr/case_1.nii.gz"), "imagesTr/case_1.nii.gz", "has no label"),
    Set("image missing", gone("imagesTr/case_1.nii.gz"), "labelsTr/case_1.nii.gz", "has no matching image"),
    Set(
        "id twice",
        lambda folder: save(folder / "imagesTr" / "case_1.nii", image()),
        "imagesTr/case_1.nii.gz",
        "has the same id as case_1.nii",
        doors="check train segment evaluate",
    ),
    Set("empty folder", _emptied, "", "holds no", doors="check train segment evaluate"),
    Set("no folder", shutil.rmtree, "", "there is no such folder; give the folder of a data set"),
    Set("a file", _replaced, "", "is a file, not a folder; give the folder of a data set"),
    Set(
        "folder that links to itself",
        _looped,
        "",
        "there is no such folder; give the folder of a data set",
    ),
    Set(
        "dataset.json cut short",
        write("dataset.json", '{"training": ['),
        "dataset.json",
        "cannot be read as JSON",
        doors="check train segment evaluate",
    ),
    Set("dataset.json of a list", write("dataset.json", "[1]"), "dataset.json", "holds a list, not an object"),
    Set(
        "dataset.json with an entry that is no case",
        write("dataset.json", '{"training": [3]}'),
        "dataset.json",
        '"training" has an entry that is not a case',
    ),
    Set(
        "dataset.json names a file that is not there",
        write("dataset.json", json.dumps({"training": [{**PAIR, "label": "./labelsTr/gone.nii.gz"}]})),
        "labelsTr/gone.nii.gz",
        "there is no such file; fix the data set",
        "there is no such file; check the path",
    ),
    Set("broken Info.cfg", _patient, "patient002/Info.cfg", "ED is 'one', not a frame number"),
]


def each_door(faults):
    return [pytest.param(fault, door, id=f"{fault.name}-{door}") for fault in faults for door in fault.doors.split()]


@pytest.mark.parametrize(("fault", "door"), each_door(SETS))
def test_a_broken_data_set(fault, door, seeded, heartseg, tmp_path):
    folder = dataset(tmp_path / "data")
    fault.build(folder)
    before = tree(tmp_path)
    path = folder / fault.at
    if door == "check":
        status, out, err = heartseg("check", folder)
        lines = [line.removeprefix("error: ") for line in out.splitlines() if line.startswith("error: ")]
        lines += [line.removeprefix("heartseg: ") for line in err.splitlines() if line.startswith("heartseg: ")]
        assert status == 2 and "Traceback" not in err
        (line,) = [line for line in lines if line.startswith(f"{path}: ")]
        assert (fault.check or fault.said).partition(";")[0] in line
    else:
        own = [] if door == "train" else ["--weights", seeded["left_atrium"]]
        data = [folder] if door == "segment" else ["--data", folder]
        line = refused(heartseg(door, "left_atrium", *data, *own, "--out", tmp_path / "out"))
        assert line.startswith(f"{path}: {fault.said}") and ";" in line
    assert tree(tmp_path) == before  # nothing changed, nothing written


SPLITS = [
    ("train: [case_0\nval: [case_1]\n", "line 2", "fix it"),
    ('{"train": ["case_0"], "val": }', "line 1 column", "fix it"),
    ("[case_0, case_1]", 'lacks a list under "train"', "write"),
    ("train: case_0\nval: [case_1]\n", 'lacks a list under "train"', "write"),
    ("train: [0]\nval: [case_1]\n", "train: 0 is not text", "put the id in quotes"),
    ("train: [case_0]\nval: [case_9]\n", "val: there is no case 'case_9'", "an id is a file name"),
    ("train: [case_0, case_0]\nval: [case_1]\n", "train: case_0 is listed twice", "name each case once"),
    ("train: [case_0]\nval: []\n", 'lacks a list under "val"', "write"),
]


@pytest.mark.parametrize(("text", "said", "remedy"), SPLITS)
def test_a_broken_split_file(text, said, remedy, heartseg, tmp_path):
    folder = dataset(tmp_path / "data")
    path = tmp_path / ("split.json" if text.startswith("{") else "split.yaml")
    path.write_text(text)
    words = ["--data", folder, "--set", f"split_file={path}", "--out", tmp_path / "out"]
    line = refused(heartseg("train", "left_atrium", *words))
    assert line.startswith(f"{path}: ") and said in line and remedy in line
    assert not (tmp_path / "out").exists()


# Configurations


class Config(NamedTuple):
    """``line``: a piece of the line that must be named."""

    name: str
    file: str
    old: str
    new: str
    line: str
    said: str
    doors: str = "train evaluate"  # segment reads what evaluate does, and fewer files


CONFIGS = [
    Config("broken YAML", "demo", "val_interval: 8", "val_interval: 8: 9", "8: 9", "broken YAML: ", "train segment"),
    Config("broken YAML beneath", "inference", "batch_windows: 2 ", "batch_windows: ] ", "batch_windows: ]", "broken"),
    Config("a list", "demo", "", "- 1\n", "- 1", "holds a list, not ids and values; write ID: VALUE"),
    Config("nothing", "demo", "", "# nothing\n", "# nothing", "holds nothing, not ids and values"),
    Config("wrong type", "demo", "epochs: 24", "epochs: many", "epochs: many", "'many' is not a number", "train"),
    Config("1e-3 is text", "demo", "epochs: 24", "learning_rate: 1e-3", "rate: 1e-3", "is not a number", "train"),
    Config(
        "unknown class", "inference", "nets.UNet", "nets.UNett", "UNett", "there is no class or fu", "train segment"
    ),
    Config("unknown argument", "inference", "num_res_units:", "res_units:", "nets.UNet", "does not take these arg"),
    Config("wrong argument", "inference", "strides: [2, 2, 2, 2]", "strides: 2", "nets.UNet", "does not take these"),
    Config(
        "missing id",
        "inference",
        '"@overlap"',
        '"@overlop"',
        '"@overlop"',
        "the id overlop is not defined",
        "train segment",
    ),
    Config("id of itself", "inference", 'overlap: "@overlap"', 'overlap: "@inferer"', 'overlap: "@in', "to itself"),
    Config(
        "missing file", "evaluate", 'train.yaml::fold"', 'trian.yaml::fold"', "trian", "is no file conf", "evaluate"
    ),
    Config("missing macro", "evaluate", 'train.yaml::fold"', 'train.yaml::fodl"', "fodl", "id fodl is no", "evaluate"),
    Config(
        "unknown name", "inference", "1000 * @smallest_ml", "1000 * smallest", "* smallest", "name 'smallest' is not"
    ),
    Config("no Python", "inference", "1000 * @smallest_ml /", "1000 * /", "1000 * /", "invalid syntax); fix it"),
]


def changed(fault: Config, folder: Path) -> tuple[Path, Path]:
    """A copy of the bundle with the fault, and the file that has it."""
    bundle = folder / "bundle"
    shutil.copytree(find_bundle("left_atrium"), bundle, ignore=shutil.ignore_patterns("models", "docs"))
    path = bundle / "configs" / f"{fault.file}.yaml"
    text = path.read_text(encoding="utf-8")
    assert fault.old in text
    path.write_text(text.replace(fault.old, fault.new, 1) if fault.old else fault.new, encoding="utf-8")
    return bundle, path


@pytest.mark.parametrize(("fault", "door"), each_door(CONFIGS))
def test_a_broken_configuration_names_file_and_line(fault, door, seeded, heartseg, tmp_path):
    bundle, path = changed(fault, tmp_path)
    folder = dataset(tmp_path / "data")
    before = tree(tmp_path)
    own = [folder / "imagesTr"] if door == "segment" else ["--data", folder]
    own += ["--overlay", "demo"] + ([] if door == "train" else ["--weights", seeded["left_atrium"]])
    number = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if fault.line in line)
    line = refused(heartseg(door, bundle, *own, "--out", tmp_path / "out"))
    # A parser sees a bracket that is missing in the line that follows.
    assert line.startswith((f"{path}:{number}: ", f"{path}:{number + 1}: broken")), (line, number)
    assert fault.said in line and ";" in line
    left = {path.name for path in (tmp_path / "out").rglob("*")}
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert left <= ({"run.lock", "model.json"} if door == "train" else set())
    assert tree(tmp_path) == before


OVERRIDES = [
    ("epoch=3", "--set epoch: the configuration has no such id; did you mean epochs?"),
    ("train::nothing=3", "--set train::nothing: the configuration has no such id; "),
    ("seed=many", "--set seed: 'many' is not a number, as in seed="),
    ("spacing=[1, 2]", "--set spacing: [1, 2] is not a list of 3 positive numbers, as in spacing="),
    ("fold=9", "fold: 9 is out of range; give a whole number from 0 to 3"),
]


@pytest.mark.parametrize(("setting", "said"), OVERRIDES)
def test_an_override_that_cannot_be(setting, said, heartseg, tmp_path):
    folder = dataset(tmp_path / "data")
    words = ["--data", folder, "--set", setting, "--out", tmp_path / "out"]
    assert refused(heartseg("train", "left_atrium", *words)).startswith(said)
    assert not (tmp_path / "out").exists()


def test_the_configuration_of_a_run_that_is_broken_is_not_passed_over(tmp_path):
    (tmp_path / "config.yaml").write_text("spacing: [2, 2\nanatomy: header\n")
    with pytest.raises(InputError) as info:
        settings_of_run(tmp_path)
    assert str(info.value).startswith(f"{tmp_path / 'config.yaml'}:2: broken YAML: ")
    (tmp_path / "config.yaml").write_text("text")
    with pytest.raises(InputError, match=r"config.yaml:1: holds a str, not ids and values"):
        settings_of_run(tmp_path)


@pytest.mark.parametrize("bundle", bundle_names())
def test_no_overlay_of_a_bundle_is_taken_for_a_broken_one(bundle):
    folder = find_bundle(bundle)
    for path in sorted((folder / "configs").glob("*.yaml")):
        if "\nbundle_root: " in path.read_text(encoding="utf-8"):  # a whole configuration
            files = config_files(folder, path.stem)
        else:  # of which of the two, its first line says
            over = "train" if "Over train.yaml" in path.read_text(encoding="utf-8").splitlines()[0] else "inference"
            files = [f"configs/{over}.yaml", f"configs/{path.stem}.yaml"]
        compose(folder, files, {}, {"bundle_root": str(folder)})


def test_the_corpus_is_large():
    names = [fault.name for fault in (*FILES, *IMAGES, *LINKS, *LABELS, *SETS, *CONFIGS)]
    names += [text for text, *_ in (*SPLITS, *OVERRIDES)]
    assert len(names) == len(set(names)) >= 40
