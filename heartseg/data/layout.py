"""Layouts of data sets: the Medical Segmentation Decathlon's (https://arxiv.org/abs/1902.09063).

``imagesTr/``, ``labelsTr/`` and ``imagesTs/`` hold one NIfTI file per case; "training" and "test" in a
``dataset.json`` take precedence. Without any of these, patients' folders are read (`heartseg.data.acdc`). A plain
folder of images is accepted where no labels are needed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from monai.data import load_decathlon_datalist

from heartseg.data.acdc import TRUTH, patient_folders, read_frames
from heartseg.errors import InputError, flat

MISSING = "there is no such file"
LAYOUT = (
    "expected imagesTr/ and labelsTr/ with one .nii or .nii.gz file of the same name per case, or folders "
    "patient001/ ... as in ACDC"
)
FOLDERS = ("imagesTr", "labelsTr", "imagesTs")


class Case(TypedDict):
    """One image and its label, if there is one. Frames of one patient share ``patient``.

    ``phase`` ("ED" or "ES") and ``group`` (such as "DCM") are present where the data set states them.
    """

    id: str
    patient: str
    image: str
    label: NotRequired[str]
    phase: NotRequired[str]
    group: NotRequired[str]


@dataclass(frozen=True)
class Part:
    """The training or the test part of a data set, sorted by id.

    ``faults`` prevent any use of it (a repeated id, a listed file that is missing), ``unpaired`` only the use of its
    labels (an image without a label where others have one, a label without an image). Each is one line: file and
    fault.
    """

    cases: list[Case] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)


def case_id(path: str | os.PathLike[str]) -> str | None:
    """Return a file name without ``.nii`` or ``.nii.gz``; None for other and for hidden files (``._*`` of a Mac)."""
    name = Path(path).name
    stem = nifti_stem(name)
    return None if stem == name or name.startswith(".") else stem


def nifti_stem(path: str | os.PathLike[str]) -> str:
    """Return a file name without ``.nii`` or ``.nii.gz``, or as it is if it ends otherwise."""
    return re.sub(r"(?ai:\.nii(\.gz)?)\Z", "", Path(path).name)


def patient_of(identity: str) -> str:
    """Return the patient of a case: ``patient002`` for ``patient002_frame01`` and ``patient002_frame02``."""
    return re.sub(r"_frame\d+$", "", identity)


def read_properties(dataset_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``dataset.json``; empty if there is none. Raises InputError if it is not a JSON object."""
    path = Path(dataset_dir) / "dataset.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({flat(error)}); fix or remove it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not an object; fix or remove it")
    return content


def declared_labels(dataset_dir: str | os.PathLike[str]) -> dict[int, str] | None:
    """Return the labels of ``dataset.json`` as {value: name}, or None if it has none.

    The Decathlon writes ``{"1": name}``; nnU-Net ``{name: 1}`` or ``{name: [1, 2]}``.
    """
    entries = read_properties(dataset_dir).get("labels")
    if not entries:
        return None
    found: dict[int, str] = {}
    try:
        for key, value in entries.items():
            if str(key).isdecimal():
                found[int(key)] = str(value)
            elif isinstance(value, list):
                found.update({int(item): found.get(int(item), str(key)) for item in value})
            else:
                found[int(value)] = str(key)
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        path = Path(dataset_dir) / "dataset.json"
        remedy = 'write {"0": "background", "1": "name"}'
        raise InputError(f'{path}: "labels" cannot be read; {remedy}') from error
    return found


def scan(dataset_dir: str | os.PathLike[str]) -> tuple[Part, Part]:
    """Return the training and the test part of a data set, with all faults in their lists of files.

    Raises InputError only if the folder or its ``dataset.json`` cannot be read.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise InputError(f"{folder}: {what}; give the folder of a data set ({LAYOUT})")
    properties = read_properties(folder)
    decathlon = any((folder / name).is_dir() for name in FOLDERS)
    if not decathlon and not {"training", "test"} & properties.keys() and any(patients := patient_folders(folder)):
        return _frames(patients[0]), _frames(patients[1])
    training = _listed(folder, properties, "training")
    if training is None:
        training = _paired(_volumes(folder / "imagesTr"), _volumes(folder / "labelsTr"))
    test = _listed(folder, properties, "test")
    if test is None:
        test = _paired(_volumes(folder / "imagesTs" if decathlon or training.cases else folder))
    return training, test


def _frames(folders: list[Path]) -> Part:
    """Return the part that consists of these patients."""
    frames = read_frames(folders)
    part = _paired(frames.images, frames.truths, TRUTH)
    for case in part.cases:
        phase, group = frames.about[case["image"]]
        if phase:
            case["phase"] = phase
        if group:
            case["group"] = group
    return Part(part.cases, frames.faults + part.faults, part.unpaired)


def _listed(folder: Path, properties: dict[str, Any], key: str) -> Part | None:
    """Return the part that ``dataset.json`` lists under ``key``, or None if it has no list (nnU-Net writes none)."""
    if key not in properties:
        return None
    path = folder / "dataset.json"
    entries = properties[key]
    try:
        # MONAI fails on an empty test list
        entries = load_decathlon_datalist(path, data_list_key=key) if entries else []
        pairs = [(entry["image"], entry.get("label")) for entry in entries]
        wrong = next((name for pair in pairs for name in pair if not isinstance(name, str | None)), None)
        if wrong is not None or any(image is None for image, _ in pairs):
            raise TypeError(f"{wrong!r} is not one file name")
        if nameless := [image for image, _ in pairs if not Path(image).name]:
            raise TypeError(f"{nameless[0]!r} is not a file name")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        remedy = 'write {"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"} per case'
        fault = f'"{key}" has an entry that is not a case ({flat(error)})'
        raise InputError(f"{path}: {fault}; {remedy}") from error
    # the Decathlon's own lists are clean, but some repackaged ones also list a Mac's ._ files
    return _part([(image, label) for image, label in pairs if not Path(image).name.startswith("._")])


def _paired(paths: list[str], labels: Iterable[str] = (), suffix: str = "") -> Part:
    """Pair images with the labels of their name plus ``suffix``; nnU-Net's ``x_0000`` also matches label ``x``."""
    by_id: dict[str, str] = {}
    repeated: list[str] = []
    for path in labels:
        identity = str(case_id(path)).removesuffix(suffix)
        if identity in by_id:
            repeated.append(_repeated(path, by_id[identity]))
        else:
            by_id[identity] = path
    names = {case_id(path) for path in paths}
    pairs: list[tuple[str, str | None]] = []
    used: set[str] = set()
    for path in paths:
        stem = str(case_id(path))
        base = stem.removesuffix("_0000")
        name = base if stem not in by_id and base not in names and base in by_id else stem
        pairs.append((path, by_id.get(name)))
        used.add(name)
    part = _part(pairs)
    stray = [f"{path}: has no matching image" for name, path in by_id.items() if name not in used]
    return Part(part.cases, repeated + part.faults, part.unpaired + stray)


def _part(pairs: Iterable[tuple[str, str | None]]) -> Part:
    """Name and sort the cases; note repeated ids, missing files and missing labels."""
    found: dict[str, Case] = {}
    faults: list[str] = []
    for image, label in pairs:
        identity = case_id(image) or Path(image).name
        if label is not None and identity == f"{case_id(label)}_0000":
            identity = str(case_id(label))
        case = Case(id=identity, patient=patient_of(identity), image=image)
        if label is not None:
            case["label"] = label
        if identity in found:
            faults.append(_repeated(image, found[identity]["image"]))
            continue
        missing = [path for path in (image, label) if path and not os.path.isfile(path)]
        faults += [f"{path}: {MISSING}" for path in missing]
        found[identity] = case
    cases = [found[identity] for identity in sorted(found)]
    bare = [case["image"] for case in cases if "label" not in case]
    partly = 0 < len(bare) < len(cases)
    return Part(cases, faults, [f"{image}: has no label, but other images do" for image in bare if partly])


def _volumes(folder: Path) -> list[str]:
    """Return the NIfTI files of a folder, broken links included, so that they are reported rather than ignored."""
    if not folder.is_dir():
        return []
    return [str(path) for path in sorted(folder.iterdir()) if case_id(path) and not path.is_dir()]


def _repeated(path: str, other: str) -> str:
    name = Path(other).name
    return f"{path}: has the same id as {name if name != Path(path).name else other}"
