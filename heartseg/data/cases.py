"""Which cases of a data set train and which validate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from monai.bundle import ConfigParser
from monai.data import partition_dataset

from heartseg.data.layout import LAYOUT, Case, flat, scan
from heartseg.errors import InputError

__all__ = ["Case", "find_cases", "select_cases", "split_cases"]


def find_cases(dataset_dir: str | os.PathLike[str], labelled: bool | None = None) -> list[Case]:
    """Cases of a data set, sorted by id within the training and the test part.

    Args:
        dataset_dir: Decathlon layout, or a plain folder of images (then nothing is labelled).
        labelled: True: the training images, which must all have a label; False: the test images; None: both,
            training images without label included.

    Raises:
        InputError: the folder is missing or empty, an id occurs twice, a file that ``dataset.json`` lists is
            missing, or (``labelled=True``) some images lack a label or some labels their image.
    """
    training, test = scan(dataset_dir)
    parts = {True: [training], False: [test], None: [training, test]}[labelled]
    _refuse([fault for part in parts for fault in part.faults], "mend the data set")
    cases = [case for part in parts for case in part.cases]
    if labelled:
        cases = [case for case in cases if "label" in case]
        if cases:
            _refuse(training.unpaired, "complete the pair, or move its file out of the training folder")
    if not cases:
        kind = {True: "labelled cases", False: "test images", None: "images"}[labelled]
        layout = "expected imagesTs/, or image files in the folder itself" if labelled is False else LAYOUT
        raise InputError(f"{dataset_dir}: holds no {kind}; {layout}{_nested(Path(dataset_dir))}")
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
        section: "train", "val", or "all" (every labelled case, whatever the split).
        fold, folds, seed: see `split_cases`; unused with a ``split_file``.
        split_file: JSON or YAML file ``{"train": [ids], "val": [ids]}``. Cases that it does not name are left
            out, and only those that it names need a label.

    Raises:
        InputError: as `find_cases` and `split_cases`; a split file that is unreadable, lacks a key, names an
            unknown, unlabelled or repeated id, or has a patient on both sides.
    """
    if section not in ("train", "val", "all"):
        raise InputError(f"section: {section!r} is unknown; use train, val or all")
    if section == "all":
        return find_cases(dataset_dir, labelled=True)
    if split_file:
        training, _ = scan(dataset_dir)
        _refuse(training.faults, "mend the data set")
        train, val = _split_by_file(training.cases, Path(split_file))
    else:
        train, val = split_cases(find_cases(dataset_dir, labelled=True), fold, folds, seed)
    return train if section == "train" else val


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
                raise InputError(f"{path}: {key}: {identity} has no label; add it in labelsTr or drop the id")
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


def _nested(folder: Path) -> str:
    inside = [path for path in sorted(folder.iterdir()) if (path / "imagesTr").is_dir()]
    return f"; did you mean {inside[0]}?" if inside else ""


def _refuse(faults: list[str], remedy: str) -> None:
    if faults:
        others = len(faults) - 1
        more = f" (and {others} more such fault{'s' if others > 1 else ''})" if others else ""
        raise InputError(f"{faults[0]}{more}; {remedy}")
