"""ACDC's own layout: a folder for each patient, with numbered frames of a cine.

``patient001/`` holds ``patient001_frame01.nii.gz``, its truth ``patient001_frame01_gt.nii.gz``, and ``Info.cfg``,
which says which frames are end-diastole (ED) and end-systole (ES) and which group the patient belongs to. Other
files, such as the whole cine ``patient001_4d.nii.gz``, are ignored. The patients are in one folder, or in
``training/`` and ``testing/``, perhaps inside ``database/``, as the archive unpacks.
https://www.creatis.insa-lyon.fr/Challenge/acdc, Bernard et al. 2018, https://doi.org/10.1109/TMI.2018.2837502
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from heartseg.errors import InputError

INFO = "Info.cfg"
TRUTH = "_gt"
PHASES = ("ED", "ES")  # end-diastole, end-systole
FRAME = re.compile(rf"[^.].*_frame(?P<number>\d+)(?P<truth>{TRUTH})?\.nii(\.gz)?")


@dataclass(frozen=True)
class Info:
    """The content of an ``Info.cfg``: phases by frame number, and the patient's group, such as ``DCM``.

    ``fault``: one line, file and fault, if the file cannot be used; then the rest is empty.
    """

    phases: dict[int, str] = field(default_factory=dict)
    group: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Frames:
    """Files of images and truths, and the phase and group (None if unknown) of each image."""

    images: list[str] = field(default_factory=list)
    truths: list[str] = field(default_factory=list)
    about: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def patient_folders(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders of training and of test patients, both empty for another layout.

    A patient's folder holds ``Info.cfg``, or frames named after it. Patients directly in ``folder``, and ``folder``
    itself if it is a patient's, are training patients. Raises InputError for an unreadable folder.
    """
    training = [folder] if _is_patient(folder) else _patients(folder) + _patients(folder / "training")
    testing = _patients(folder / "testing")
    if not training and not testing and (folder / "database").is_dir():
        return patient_folders(folder / "database")
    return training, testing


def read_frames(folders: Iterable[Path]) -> Frames:
    """Return the frames in patients' folders, with faults where an ``Info.cfg`` is broken or names a missing frame."""
    frames = Frames()
    for folder in folders:
        info, numbers = read_info(folder), set()
        for path, number, truth in _files(folder):
            if truth:
                frames.truths.append(path)
            else:
                numbers.add(number)
                frames.images.append(path)
                frames.about[path] = info.phases.get(number), info.group
        frames.faults.extend([info.fault] if info.fault else [])
        for number, phase in info.phases.items():
            if number not in numbers:
                what = f"{phase} is frame {number}, but there is no file *_frame{number:02}.nii.gz"
                frames.faults.append(f"{folder / INFO}: {what}")
    return frames


def read_info(folder: str | os.PathLike[str]) -> Info:
    """Read the ``Info.cfg`` of a folder, with its fault if it has one; empty if there is no such file."""
    path = Path(folder) / INFO
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except FileNotFoundError:
        return Info()
    except OSError as error:
        return Info(fault=f"{path}: cannot be read ({error.strerror})")
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    phases: dict[int, str] = {}
    for phase in PHASES:
        value = entries.get(phase)
        if not value:
            return Info(fault=f"{path}: does not say which frame is {phase}")
        if not re.fullmatch(r"[0-9]{1,6}", value):
            return Info(fault=f"{path}: {phase} is {value!r}, not a frame number")
        if int(value) in phases:
            return Info(fault=f"{path}: ED and ES are both frame {value}")
        phases[int(value)] = phase
    return Info(phases, entries.get("Group") or None)


def phase_of(path: str | os.PathLike[str]) -> str | None:
    """Return ``"ED"`` or ``"ES"`` for a frame's file, from the ``Info.cfg`` in its folder, or None if unknown.

    Raises InputError for a broken ``Info.cfg``.
    """
    path = Path(path)
    match = FRAME.fullmatch(path.name)
    if match is None:
        return None
    info = read_info(path.parent)
    if info.fault:
        raise InputError(f"{info.fault}; fix or remove it")
    return info.phases.get(int(match["number"]))


def is_truth(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is named like a frame's truth, as ``patient001_frame01_gt.nii.gz`` is."""
    match = FRAME.fullmatch(Path(path).name)
    return match is not None and match["truth"] is not None


def _patients(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if _is_patient(path)] if folder.is_dir() else []


def _is_patient(folder: Path) -> bool:
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    own = f"{folder.absolute().name}_frame"
    return (folder / INFO).is_file() or any(Path(path).name.startswith(own) for path, *_ in _files(folder))


def _files(folder: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield the frames' files in a folder: path, frame number, and whether it is a truth.

    Broken links are included, so that they are reported rather than ignored.
    """
    for path in _entries(folder):
        match = FRAME.fullmatch(path.name)
        if match and not path.is_dir():
            yield str(path), int(match["number"]), match["truth"] is not None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); fix its permissions") from None
