"""Seeded synthetic scans on disk, in the layout that a bundle reads: for demos and tests, not as evidence.

To add a kind, write a function that draws (see `atrium_phantom`), one that writes, and a line in `KINDS`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import chain, cycle
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

import heartseg
from heartseg.data.files import atomic, commit, writable_folder, write_json
from heartseg.errors import InputError
from heartseg.phantoms.atrium import SIZES as ATRIUM_SIZES
from heartseg.phantoms.atrium import atrium_phantom
from heartseg.phantoms.cine import GROUPS, cine_phantom, draw_patient
from heartseg.phantoms.cine import SIZES as CINE_SIZES

__all__ = ["KINDS", "Kind", "atrium_phantom", "cine_phantom", "write_phantoms"]

RECORD = "phantom.json"


class Kind(NamedTuple):
    """A kind of data set; ``write(out, cases, seed, size)`` keeps existing files."""

    write: Callable[[Path, int, int, str], None]
    sizes: tuple[str, ...]
    revision: int  # increase it when the same seed no longer gives the same scans


def write_phantoms(
    out: str | os.PathLike[str], kind: str = "atrium", cases: int = 8, seed: int = 0, *, size: str = "full"
) -> Path:
    """Write a synthetic data set into ``out`` and return its path.

    Kind "atrium" has the layout of the Medical Segmentation Decathlon: ``cases`` labelled scans in imagesTr/ and
    labelsTr/, a quarter as many more (at least one) without label in imagesTs/, and dataset.json. Images are int16,
    labels uint8, spacing and affine in mm, stored in any of the 48 axis orders with true headers. ``size``: "full"
    scans (1 to 8 million voxels) or "small" ones (about 75^3 voxels of 2 to 2.6 mm) for quick runs.

    Kind "cine" has ACDC's layout: ``cases`` patients, each a folder phantom001/ and so on with two labelled short-axis
    stacks, the first frame (end-diastole) and the one that Info.cfg names as end-systole; labels 1 right ventricle, 2
    myocardium, 3 left ventricle. The five groups of ACDC alternate. ``size``: "full" stacks (7 to 12 slices of 200 to
    256 voxels a side) or "small" ones (5 to 7 slices of 72 to 96).

    Case k depends on the seed, not on ``cases``. ``phantom.json`` records the arguments: if they match, existing files
    are kept and missing ones are written, so an interrupted call can be repeated.

    Raises InputError for an unknown kind or size, ``cases`` < 1, ``seed`` < 0, or a folder with other data.
    """
    if kind not in KINDS:
        raise InputError(f"kind {kind!r}: there is no such phantom; there are: {', '.join(KINDS)}")
    if size not in KINDS[kind].sizes:
        raise InputError(
            f"size {size!r}: {kind} phantoms are not available in this size; give {' or '.join(KINDS[kind].sizes)}"
        )
    if cases < 1:
        raise InputError(f"cases {cases}: ask for at least 1")
    if seed < 0:
        raise InputError(f"seed {seed}: give 0 or a positive number")
    out = writable_folder(out)
    asked = {"kind": kind, "cases": cases, "seed": seed, "size": size, "revision": KINDS[kind].revision}
    if not _is_written(out, asked):
        write_json(out / RECORD, {**asked, "heartseg": heartseg.__version__, "commit": commit()})
    KINDS[kind].write(out, cases, seed, size)
    return out


def _is_written(out: Path, asked: dict[str, Any]) -> bool:
    """Return whether ``out`` holds this data set, False if it is new or empty. Raises InputError for other data."""
    if not out.exists():
        return False
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not any(out.iterdir()):
            return False
        raise InputError(f"{out}: the folder holds other data; give a new or empty folder") from None
    except ValueError:  # not JSON, or not text
        found = None
    if not isinstance(found, dict) or any(found.get(key) != value for key, value in asked.items()):
        raise InputError(f"{out}: the folder holds other phantoms (see {RECORD}); give a new or empty folder")
    return True


def _write_atria(out: Path, cases: int, seed: int, size: str) -> None:
    total = cases + max(1, cases // 4)
    width = max(3, len(str(total)))
    names = [f"la_{index:0{width}d}.nii.gz" for index in range(1, total + 1)]
    for index, name in enumerate(names, start=1):
        labelled = index <= cases
        image_path = out / ("imagesTr" if labelled else "imagesTs") / name
        label_path = out / "labelsTr" / name
        if image_path.exists() and (label_path.exists() or not labelled):
            continue
        image, label, affine = atrium_phantom(np.random.default_rng([seed, index]), size=size)
        if labelled:
            _save(label_path, label, affine)
        _save(image_path, _int16(image), affine)
    content = {
        "name": "heartseg left atrium phantoms",
        "description": "Synthetic bright-blood MRI of the chest, left atrium marked; no patient was scanned",
        "reference": f"heartseg {heartseg.__version__}",
        "licence": "synthetic",
        "release": f"seed {seed}",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "left atrium"},
        "numTraining": cases,
        "numTest": total - cases,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names[:cases]],
        "test": [f"./imagesTs/{name}" for name in names[cases:]],
    }
    if not (out / "dataset.json").exists():  # written last, as it lists the files
        write_json(out / "dataset.json", content)


def _write_cines(out: Path, cases: int, seed: int, size: str) -> None:
    width = max(3, len(str(cases)))
    for index, group in zip(range(1, cases + 1), cycle(GROUPS), strict=False):
        rng = np.random.default_rng([seed, index])
        patient = draw_patient(rng, group)
        name = f"phantom{index:0{width}d}"  # not patient001, which may be a patient that weights were trained on
        numbers = (1, patient.end_systole)
        files = [out / name / f"{name}_frame{frame:02d}{end}.nii.gz" for frame in numbers for end in ("", "_gt")]
        if not all(path.exists() for path in files):
            phantom = cine_phantom(rng, patient, size=size)
            pairs = zip(map(_int16, phantom.images), phantom.labels, strict=True)
            for path, voxels in zip(files, chain.from_iterable(pairs), strict=True):
                if not path.exists():
                    _save(path, voxels, phantom.affine)
        lines = {
            "ED": 1,
            "ES": patient.end_systole,
            "Group": patient.group,
            "Height": patient.height,
            "NbFrame": patient.frames,
            "Weight": patient.weight,
        }
        if not (out / name / "Info.cfg").exists():  # written last, as it refers to the frames
            with atomic(out / name / "Info.cfg") as temporary:
                temporary.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()), encoding="utf-8")


def _int16(image: NDArray[Any]) -> NDArray[Any]:
    return np.clip(np.rint(image), 0, 2**15 - 1).astype(np.int16)


def _save(path: Path, voxels: NDArray[Any], affine: NDArray[Any]) -> None:
    """Write a NIfTI-1 volume with equal sform and qform, in mm (scanner coordinates)."""
    nifti = nib.Nifti1Image(voxels, affine)
    nifti.set_qform(affine, code=1)
    nifti.set_sform(affine, code=1)
    nifti.header.set_xyzt_units("mm")
    with atomic(path) as temporary:
        nib.save(nifti, temporary)


KINDS: dict[str, Kind] = {
    "atrium": Kind(_write_atria, tuple(ATRIUM_SIZES), revision=1),
    "cine": Kind(_write_cines, tuple(CINE_SIZES), revision=2),
}
