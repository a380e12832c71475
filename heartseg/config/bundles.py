"""Bundles: where they are, and the configurations they consist of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import heartseg
from heartseg.config.yaml_files import read_yaml
from heartseg.errors import InputError, nearest

PACKAGE = Path(heartseg.__file__).parent
# A wheel keeps the bundles inside the package, a checkout beside it.
HOMES = (PACKAGE / "bundles", PACKAGE.parent / "bundles")
WHOLE = ("inference", "train")  # every bundle has these; others are whole, and no overlays, if they define
ROOT_ID = "bundle_root"


def bundle_names() -> list[str]:
    """Return the names of the bundles that come with heartseg."""
    return sorted({path.parents[1].name for home in HOMES for path in home.glob("*/configs/inference.yaml")})


def find_bundle(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a bundle, from its name or its path.

    Raises InputError with the nearest name there is, or with what a path lacks.
    """
    for folder in (*(home / str(name) for home in HOMES), Path(name)):
        if (folder / "configs" / "inference.yaml").is_file():
            return folder.resolve()
    if Path(name).exists():
        raise InputError(f"{name}: is not a bundle; give the folder that holds configs/inference.yaml")
    raise InputError(f"{name}: no such bundle; {nearest(str(name), bundle_names())}")


def config_files(bundle: Path, base: str, overlays: Sequence[str] = ()) -> list[str]:
    """Return ``configs/BASE.yaml`` and its overlays, relative to the bundle. InputError for an unknown overlay."""
    files = [f"configs/{name}.yaml" for name in (base, *overlays)]
    for name, file in zip((base, *overlays), files, strict=True):
        if not (bundle / file).is_file() or (name != base and _is_whole(bundle / file)):
            found = filter(Path.is_file, (bundle / "configs").glob("*.yaml"))
            known = sorted(path.stem for path in found if not _is_whole(path))
            raise InputError(f"overlay {name}: {bundle.name} has no such overlay; {nearest(name, known)}")
    return files


def _is_whole(path: Path) -> bool:
    try:
        return path.stem in WHOLE or ROOT_ID in read_yaml(path)
    except InputError:  # a broken file is reported with its line when it is composed
        return False
