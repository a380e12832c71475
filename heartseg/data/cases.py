"""The cases of a data set, split into training and validation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from monai.bundle import ConfigParser
from monai.data import partition_dataset

from heartseg.data.acdc import patient_folders
from heartseg.data.layout import LAYOUT, MISSING, Case, Part, scan
from heartseg.errors import InputError, first_of, flat

__all__ = ["Case", "find_cases", "folds_of", "select_cases", "split_cases"]


def find_cases(dataset_dir: str | os.PathLike[str], labelled: bool | None = None) -> list[Case]:
    """Return the cases of a data set, sorted by id within the training and the test part.

    Args:
        dataset_dir: Decathlon layout, patients' folders as in ACDC, or a plain folder of images without labels.
        labelled: True: the training images, which must all have a label; False: the test images; None: both,
            including training images without a label.

    Raises:
        InputError: the folder is missing or empty, an id is repeated, an ``Info.cfg`` is broken or names a missing
            frame, or (``labelled=True``) a file listed in ``dataset.json`` is missing, or some images lack a label
            or some labels an image.
    """
    training, test = scan(dataset_dir)
    if labelled:
        cases = _labelled(training)
    else:
        parts = [test] if labelled is False else [training, test]
        # Missing files are reported when they are read, so that one broken link does not stop the other scans.
        faults = [fault for part in parts for fault in part.faults if not fault.endswith(MISSING)]
        _refuse(faults, "fix the data set")
        cases = [case for part in parts for case in part.cases]
    if not cases:
        tests = "expected imagesTs/, testing/ as in ACDC, or image files in the folder itself"
        kind, expected = {
            True: ("labelled cases", LAYOUT),
            False: ("test images", tests),
            None: (".nii or .nii.gz file", "give a folder of scans, or a data set"),
        }[labelled]
        raise _no_cases(dataset_dir, kind, expected)
    return cases


def split_cases(cases: Sequence[Case], fold: int = 0, folds: int = 4, seed: int = 0) -> tuple[list[Case], list[Case]]:
    """Return (training cases, validation cases) of a cross-validation split by patient, each in the given order.

    The sorted patients are shuffled with ``seed`` and divided into ``folds`` parts whose sizes differ by at most one
    patient; part ``fold`` is for validation. The split depends on the patients' names only.

    Raises:
        InputError: ``fold``, ``folds`` or ``seed`` out of range, or fewer patients than folds.
    """
    _check_range("folds", folds, 2, 2**31)
    _check_range("fold", fold, 0, folds)
    _check_range("seed", seed, 0, 2**32)
    patients = sorted({case["patient"] for case in cases})
    if len(patients) < folds:
        fewer = "is 1" if len(patients) == 1 else f"are {len(patients)}"
        raise InputError(f"folds: {folds} folds need as many patients, and there {fewer}; lower folds or add patients")
    chosen = set(partition_dataset(patients, num_partitions=folds, shuffle=True, seed=seed)[fold])
    train = [case for case in cases if case["patient"] not in chosen]
    return train, [case for case in cases if case["patient"] in chosen]


def folds_of(validation_share: float) -> int:
    """Return the number of folds of which one is about this share of the patients.

    Raises InputError for a share that is not a number, or that leaves nothing to train with.
    """
    number = isinstance(validation_share, int | float) and not isinstance(validation_share, bool)
    folds = round(1 / validation_share) if number and 0 < validation_share <= 1 else 0
    if folds < 2:
        fault = "is not a share of the patients that leaves some for training"
        raise InputError(f"validation_share: {validation_share!r} {fault}; give a number above 0, up to 0.5")
    return folds


def select_cases(
    dataset_dir: str | os.PathLike[str],
    section: str,
    fold: int = 0,
    folds: int = 4,
    seed: int = 0,
    split_file: str | os.PathLike[str] | None = None,
) -> list[Case]:
    """Return the labelled cases of one section of a data set; bundles call this in their YAML.

    Args:
        section: "train" or "val" of the training part, "test" (the labelled cases of the test part), or "all"
            (every labelled case of both parts, regardless of the split).
        fold, folds, seed: see `split_cases`; unused with a ``split_file``.
        split_file: JSON or YAML file ``{"train": [ids], "val": [ids]}``. Cases that it does not list are left
            out, and only those that it lists need a label.

    Raises:
        InputError: as for `find_cases` and `split_cases`; a split file that is unreadable, lacks a key, lists an
            unknown, unlabelled or repeated id, or has one patient on both sides.
    """
    if section not in ("train", "val", "test", "all"):
        raise InputError(f"split {section}: unknown; give all, train, val or test")
    if section in ("test", "all"):
        return _unsplit_cases(dataset_dir, section)
    if split_file:
        training, _ = scan(dataset_dir)
        _refuse(training.faults, "fix the data set")
        train, val = _split_by_file(training.cases, Path(split_file))
    else:
        train, val = split_cases(find_cases(dataset_dir, labelled=True), fold, folds, seed)
    return train if section == "train" else val


def _unsplit_cases(dataset_dir: str | os.PathLike[str], section: str) -> list[Case]:
    training, test = scan(dataset_dir)
    # Most test parts have no labels; then their faults do not matter here.
    cases = _labelled(test) if any("label" in case for case in test.cases) else []
    if section == "test":
        if not cases:
            expected = 'expected testing/ with truths as in ACDC, or labels under "test" of dataset.json'
            raise _no_cases(dataset_dir, "labelled test cases", expected)
        return cases
    if not cases:
        return find_cases(dataset_dir, labelled=True)
    own = _labelled(training)
    both = {case["id"] for case in own} & {case["id"] for case in cases}
    _refuse([f"{dataset_dir}: {identity} is in training and test" for identity in sorted(both)], "remove it from one")
    return own + cases


def _labelled(part: Part) -> list[Case]:
    """Return the labelled cases of a part. Raises InputError if it has faults, or unpaired files besides."""
    _refuse(part.faults, "fix the data set")
    cases = [case for case in part.cases if "label" in case]
    if cases:
        _refuse(part.unpaired, "add the missing file, or move this one out of the folder")
    return cases


def _split_by_file(cases: list[Case], path: Path) -> tuple[list[Case], list[Case]]:
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "there is no such file"
        raise InputError(f"{path}: {fault}; give a split file in JSON or YAML")
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise InputError(f"{path}: its name does not end in .json or .yaml; rename it")
    try:
        content = ConfigParser.load_config_file(path)
    except Exception as error:  # the YAML and JSON parsers raise various kinds of errors
        raise InputError(f"{path}: cannot be read as JSON or YAML ({flat(error)}); fix it") from error
    known = {case["id"]: case for case in cases}
    sides: list[list[Case]] = []
    seen: set[str] = set()
    for key in ("train", "val"):
        ids = content.get(key) if isinstance(content, dict) else None
        if not isinstance(ids, list) or not ids:
            raise InputError(f'{path}: lacks a list under "{key}"; write {{"train": [ids], "val": [ids]}}')
        for identity in ids:
            if not isinstance(identity, str):
                raise InputError(f"{path}: {key}: {identity!r} is not text; put the id in quotes")
            if identity not in known:
                raise InputError(f"{path}: {key}: there is no case {identity!r}; an id is a file name without .nii.gz")
            if identity in seen:
                raise InputError(f"{path}: {key}: {identity} is listed twice; name each case once")
            if "label" not in known[identity]:
                raise InputError(f"{path}: {key}: {identity} has no label; add it or drop the id")
            seen.add(identity)
        wanted = set(ids)
        sides.append([case for case in cases if case["id"] in wanted])
    both = {case["patient"] for case in sides[0]} & {case["patient"] for case in sides[1]}
    if both:
        raise InputError(f"{path}: patient {min(both)} is in train and in val; keep a patient on one side")
    return sides[0], sides[1]


def _check_range(key: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
        raise InputError(f"{key}: {value!r} is out of range; give a whole number from {low} to {high - 1}")


def _no_cases(dataset_dir: str | os.PathLike[str], kind: str, expected: str) -> InputError:
    """Return the error for a data set without the cases asked for; it names a subfolder that may be the right one."""
    inside: list[Path] = []
    with suppress(InputError):  # from a subfolder that cannot be read
        folders = [path for path in sorted(Path(dataset_dir).iterdir()) if path.is_dir()]
        inside = [path for path in folders if (path / "imagesTr").is_dir() or any(patient_folders(path))]
    hint = f"; did you mean {inside[0]}?" if inside else ""
    return InputError(f"{dataset_dir}: holds no {kind}; {expected}{hint}")


def _refuse(faults: list[str], remedy: str) -> None:
    if faults:
        raise InputError(f"{first_of(faults)}; {remedy}")
