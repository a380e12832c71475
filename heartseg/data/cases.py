"""Which cases of a data set train and which validate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from monai.bundle import ConfigParser
from monai.data import partition_dataset

from heartseg.data.acdc import patient_folders
from heartseg.data.layout import LAYOUT, MISSING, Case, Part, scan
from heartseg.errors import InputError, flat

__all__ = ["Case", "find_cases", "folds_of", "select_cases", "split_cases"]


def find_cases(dataset_dir: str | os.PathLike[str], labelled: bool | None = None) -> list[Case]:
    """Cases of a data set, sorted by id within the training and the test part.

    Args:
        dataset_dir: Decathlon layout, patients' folders as in ACDC, or a plain folder of images (then nothing is
            labelled).
        labelled: True: the training images, which must all have a label; False: the test images; None: both,
            training images without label included.

    Raises:
        InputError: the folder is missing or empty, an id occurs twice, an ``Info.cfg`` is broken or names a missing
            frame, or (``labelled=True``) a file that ``dataset.json`` names is missing, some images lack a label or
            some labels their image.
    """
    training, test = scan(dataset_dir)
    if labelled:
        cases = _labelled(training)
    else:
        parts = [test] if labelled is False else [training, test]
        # A missing file is told by whoever reads it: a broken link does not keep the others from being segmented.
        faults = [fault for part in parts for fault in part.faults if not fault.endswith(MISSING)]
        _refuse(faults, "mend the data set")
        cases = [case for part in parts for case in part.cases]
    if not cases:
        kind = {True: "labelled cases", False: "test images", None: "images"}[labelled]
        tests = "expected imagesTs/, testing/ as in ACDC, or image files in the folder itself"
        raise _nothing(dataset_dir, kind, tests if labelled is False else LAYOUT)
    return cases


def split_cases(cases: Sequence[Case], fold: int = 0, folds: int = 4, seed: int = 0) -> tuple[list[Case], list[Case]]:
    """Cross-validation split by patient: (training cases, validation cases), each in the given order.

    The sorted patients are shuffled with ``seed`` and dealt into ``folds`` parts, equal but for one patient;
    part ``fold`` validates. The names alone decide, not the order or the place of the files.

    Raises:
        InputError: ``fold``, ``folds`` or ``seed`` out of range, or fewer patients than folds.
    """
    _check_range("folds", folds, 2, 2**31)
    _check_range("fold", fold, 0, folds)
    _check_range("seed", seed, 0, 2**32)
    patients = sorted({case["patient"] for case in cases})
    if len(patients) < folds:
        raise InputError(f"folds: {folds} for only {len(patients)} patients; lower it or add patients")
    chosen = set(partition_dataset(patients, num_partitions=folds, shuffle=True, seed=seed)[fold])
    train = [case for case in cases if case["patient"] not in chosen]
    return train, [case for case in cases if case["patient"] in chosen]


def folds_of(validation_share: float) -> int:
    """Into how many parts the patients are dealt so that one of them is about this share of all.

    Raises InputError for a share that is none, or that leaves no part to train with.
    """
    number = isinstance(validation_share, int | float) and not isinstance(validation_share, bool)
    folds = round(1 / validation_share) if number and 0 < validation_share <= 1 else 0
    if folds < 2:
        fault = "is no share of the patients that leaves some to train with"
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
    """The labelled cases of one section of a data set; what a bundle's YAML calls.

    Args:
        section: "train" or "val" of the training part, "test" (the labelled cases of the test part), or "all"
            (every labelled case of both, whatever the split).
        fold, folds, seed: see `split_cases`; unused with a ``split_file``.
        split_file: JSON or YAML file ``{"train": [ids], "val": [ids]}``. Cases that it does not name are left
            out, and only those that it names need a label.

    Raises:
        InputError: as `find_cases` and `split_cases`; a split file that is unreadable, lacks a key, names an
            unknown, unlabelled or repeated id, or has a patient on both sides.
    """
    if section not in ("train", "val", "test", "all"):
        raise InputError(f"section: {section!r} is unknown; use train, val, test or all")
    if section in ("test", "all"):
        return _whatever_the_split(dataset_dir, section)
    if split_file:
        training, _ = scan(dataset_dir)
        _refuse(training.faults, "mend the data set")
        train, val = _split_by_file(training.cases, Path(split_file))
    else:
        train, val = split_cases(find_cases(dataset_dir, labelled=True), fold, folds, seed)
    return train if section == "train" else val


def _whatever_the_split(dataset_dir: str | os.PathLike[str], section: str) -> list[Case]:
    training, test = scan(dataset_dir)
    # Most test parts have no labels: then what is wrong with them is no matter here.
    cases = _labelled(test) if any("label" in case for case in test.cases) else []
    if section == "test":
        if not cases:
            expected = 'expected testing/ with truths as in ACDC, or labels under "test" of dataset.json'
            raise _nothing(dataset_dir, "labelled test cases", expected)
        return cases
    if not cases:
        return find_cases(dataset_dir, labelled=True)
    own = _labelled(training)
    both = {case["id"] for case in own} & {case["id"] for case in cases}
    _refuse([f"{dataset_dir}: {identity} is in training and test" for identity in sorted(both)], "keep it in one")
    return own + cases


def _labelled(part: Part) -> list[Case]:
    """The labelled cases of a part. InputError where its lists are at fault, or others have no label."""
    _refuse(part.faults, "mend the data set")
    cases = [case for case in part.cases if "label" in case]
    if cases:
        _refuse(part.unpaired, "complete the pair, or move its file out of the folder")
    return cases


def _split_by_file(cases: list[Case], path: Path) -> tuple[list[Case], list[Case]]:
    try:
        content = ConfigParser.load_config_file(path)
    except Exception as error:  # the YAML and the JSON parser have error families of their own
        raise InputError(f"{path}: cannot be read as JSON or YAML ({flat(error)}); mend it") from error
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
                raise InputError(f"{path}: {key}: there is no case {identity!r}; an id is a file name less .nii.gz")
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


def _nothing(dataset_dir: str | os.PathLike[str], kind: str, expected: str) -> InputError:
    """What to say of a data set that holds none of what was asked for."""
    inside: list[Path] = []
    with suppress(InputError):  # a folder that cannot be read is no hint
        folders = [path for path in sorted(Path(dataset_dir).iterdir()) if path.is_dir()]
        inside = [path for path in folders if (path / "imagesTr").is_dir() or any(patient_folders(path))]
    hint = f"; did you mean {inside[0]}?" if inside else ""
    return InputError(f"{dataset_dir}: holds no {kind}; {expected}{hint}")


def _refuse(faults: list[str], remedy: str) -> None:
    if faults:
        others = len(faults) - 1
        more = f" (and {others} more such fault{'s' if others > 1 else ''})" if others else ""
        raise InputError(f"{faults[0]}{more}; {remedy}")
