"""ACDC's own layout: a folder for each patient, with frames of a cine by their number.

``patient001/`` holds ``patient001_frame01.nii.gz``, its truth ``patient001_frame01_gt.nii.gz``, and ``Info.cfg``,
which says which frames are end-diastole (ED) and end-systole (ES) and to which group the patient belongs. Other
files, such as the whole cine ``patient001_4d.nii.gz``, are passed over. The patients lie in one folder, or in
``training/`` and ``testing/``, perhaps below ``database/``, as the archive unpacks.
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
    """What ``Info.cfg`` says of a patient: the phase of frames by their number, and the group, such as ``DCM``.

    ``fault``: one line, file and fault, where it cannot be used; then nothing else is known.
    """

    phases: dict[int, str] = field(default_factory=dict)
    group: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Frames:
    """Frames of patients: files of images and of truths, and the phase and group of each image, None if unknown."""

    images: list[str] = field(default_factory=list)
    truths: list[str] = field(default_factory=list)
    about: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def patient_folders(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders of the patients to train with and of those to test with; none in another layout.

    A patient's folder is one that holds ``Info.cfg`` or frames under its own name. Patients that lie in ``folder``
    itself, and ``folder`` where it is a patient's, are to train with. Raises InputError for an unreadable folder.
    """
    training = [folder] if _is_patient(folder) else _patients(folder) + _patients(folder / "training")
    testing = _patients(folder / "testing")
    if not training and not testing and (folder / "database").is_dir():
        return patient_folders(folder / "database")
    return training, testing


def read_frames(folders: Iterable[Path]) -> Frames:
    """The frames in folders of patients. ``faults``: an ``Info.cfg`` that is broken or names a missing frame."""
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
                what = f"{phase} is frame {number}, but no file *_frame{number:02}.nii.gz lies beside it"
                frames.faults.append(f"{folder / INFO}: {what}")
    return frames


def read_info(folder: str | os.PathLike[str]) -> Info:
    """What ``Info.cfg`` in a folder says, with what is wrong with it; nothing where there is none."""
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
            return Info(fault=f"{path}: {phase} is {value!r}, not the number of a frame")
        if int(value) in phases:
            return Info(fault=f"{path}: ED and ES are both frame {value}")
        phases[int(value)] = phase
    return Info(phases, entries.get("Group") or None)


def phase_of(path: str | os.PathLike[str]) -> str | None:
    """``"ED"`` or ``"ES"`` of a frame's file, from the ``Info.cfg`` beside it; None where that does not tell.

    Raises InputError for an ``Info.cfg`` that is broken.
    """
    path = Path(path)
    match = FRAME.fullmatch(path.name)
    if match is None:
        return None
    info = read_info(path.parent)
    if info.fault:
        raise InputError(f"{info.fault}; mend or remove it")
    return info.phases.get(int(match["number"]))


def is_truth(path: str | os.PathLike[str]) -> bool:
    """Whether a file is, by its name, the truth of a frame: ``patient001_frame01_gt.nii.gz``."""
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
    """Files of frames in a folder: path, number of the frame, and whether it is a truth.

    A broken link counts, so that it is reported and not passed over.
    """
    for path in _entries(folder):
        match = FRAME.fullmatch(path.name)
        if match and not path.is_dir():
            yield str(path), int(match["number"]), match["truth"] is not None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); mend its permissions") from None
