"""Finding what is attached to a kernel: data, an earlier output, single files. Kaggle mounts them in several places."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from heartseg.data.acdc import patient_folders
from heartseg.data.cases import find_cases
from heartseg.errors import InputError
from heartseg.kaggle.manifest import MANIFEST, read_manifest, verify, wanted
from heartseg.training.exact_resume import CHECKPOINT

# Levels below input/: SLUG, datasets/OWNER/SLUG or notebooks/OWNER/SLUG, and the data set's own folders.
DEPTH = 8
# Written by an evaluation, which is repeated.
EVALUATED = ("evaluation_results.", "clinical.", "bland_altman.", "pictures/")


def find_data(inputs: Path, slugs: Sequence[str] = ()) -> Path | None:
    """Return the folder of the attached data set; None if there is none.

    Args:
        inputs: folder of everything that is attached.
        slugs: ``OWNER/SLUG`` of the data sets that were named; they decide if several are attached.

    Raises InputError if there are several, with their names, or if one lacks labels or is otherwise broken.
    """
    found = _search(inputs, _is_data)
    named = {slug.split("/")[1] for slug in slugs}
    if len(found) > 1:
        found = [folder for folder in found if named & set(folder.relative_to(inputs).parts)] or found
    if len(found) > 1 and len(named) == 1:  # parts of one data set, such as training and testing
        sizes = {folder: len(find_cases(folder, labelled=True)) for folder in found}
        found = [max(found, key=lambda folder: sizes[folder])]
        print(f"{found[0]}: is used for training, the largest of {len(sizes)} parts", flush=True)
    if len(found) > 1:
        places = ", ".join(map(str, found))
        raise InputError(f"{inputs}: holds several data sets: {places}; attach one, or name one with --data OWNER/SLUG")
    if not found:
        return None
    find_cases(found[0], labelled=True)
    return found[0]


def take_earlier_run(inputs: Path, bundle: str, folder: Path) -> int | None:
    """Copy an attached output of a bundle that can be resumed; return its epochs, None if there is none.

    Of several the one with the most epochs is taken. Its evaluation is not copied.

    Raises InputError if it differs from its manifest.
    """
    runs = []
    for place in _search(inputs, lambda place: (place / MANIFEST).is_file() and (place / CHECKPOINT).is_file()):
        manifest = read_manifest(place / MANIFEST)
        if manifest.get("bundle") == bundle:
            epochs = manifest.get("epochs")
            runs.append((epochs if type(epochs) is int else 0, place, manifest))
    if not runs:
        return None
    epochs, place, manifest = max(runs, key=lambda run: run[0])
    verify(place, manifest)
    for name in wanted(manifest):
        if not name.startswith(EVALUATED):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place / name, folder / name)
    return epochs


def find_file(inputs: Path, name: str) -> Path | None:
    """Return the first attached file of this name; None if there is none."""
    found = _search(inputs, lambda place: (place / name).is_file())
    return found[0] / name if found else None


def _is_data(folder: Path) -> bool:
    decathlon = (folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir()
    return decathlon or bool(patient_folders(folder)[0])


def _search(inputs: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Return the folders that fit, sorted; those within another are left out."""
    found, level = [], [inputs] if inputs.is_dir() else []
    for _ in range(DEPTH):
        found += [folder for folder in level if fits(folder)]
        level = [
            Path(entry.path)
            for folder in level
            if folder not in found
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
            if entry.is_dir()
        ]
    return sorted(found)
