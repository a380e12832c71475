"""``kernel-metadata.json``: composed, read, and checked for what the kaggle client would let pass."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from heartseg.errors import InputError, nearest
from heartseg.kaggle.script import LIMIT

FILE = "kernel-metadata.json"
OWNER = "OWNER"  # stands for the user who is signed in
GPUS = {"t4": "NvidiaTeslaT4", "p100": "NvidiaTeslaP100", "none": None}  # values of machine_shape
MACHINES = [name for name in GPUS.values() if name]
NAME = "[A-Za-z0-9][A-Za-z0-9_-]*"
VERSIONED = rf"{NAME}/{NAME}(/\d+)?"
MIN_TITLE, MAX_TITLE = 5, 50  # characters that Kaggle accepts


class Field(NamedTuple):
    """A field of the metadata: its default, its pattern (of each item, in a list) and what that means."""

    default: Any
    pattern: str = ".*"
    form: str = "text"
    optional: bool = False  # null is allowed
    required: bool = False  # without it Kaggle refuses the kernel, or assumes what nobody has asked for


TRUTH = "true or false, without quotes"
FIELDS = {
    "id": Field(None, rf"{NAME}/{NAME}", "OWNER/SLUG, with your Kaggle user name before the slash", required=True),
    "title": Field(None, r".*\S.*", required=True),
    "code_file": Field("kernel.py", r".*\S.*", required=True),
    "language": Field("python", "python|r|rmarkdown", "python, r or rmarkdown", required=True),
    "kernel_type": Field("script", "script|notebook", "script or notebook", required=True),
    "is_private": Field(True, form=TRUTH, required=True),
    "enable_gpu": Field(True, form=TRUTH, required=True),
    "enable_tpu": Field(False, form=TRUTH),
    "enable_internet": Field(True, form=TRUTH, required=True),
    "machine_shape": Field(GPUS["t4"], form="text or null", optional=True),
    "dataset_sources": Field([], VERSIONED, "OWNER/SLUG"),
    "competition_sources": Field([], NAME, "SLUG"),
    "kernel_sources": Field([], VERSIONED, "OWNER/SLUG"),
    "model_sources": Field([], rf"({NAME}/){{4}}\d+", "OWNER/MODEL/FRAMEWORK/NAME/VERSION"),
    "keywords": Field([], r"\S.*", "a tag"),
    "docker_image": Field(None, form="text or null", optional=True),
    "docker_image_pinning_type": Field(None, "original|latest", "original, latest or null", optional=True),
}
DEFAULTS: dict[str, Any] = {name: field.default for name, field in FIELDS.items()}
OTHERS = ("id_no",)  # which the client knows too


def slug_of(title: str) -> str:
    """Return the slug that Kaggle makes of a title: ``Left Atrium (2)`` is ``left-atrium-2``.

    python-slugify, which does the same, is there with the kaggle extra alone.
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def kernel_of(bundle: str) -> str:
    """Return the name of the kernel that trains a bundle: ``heartseg-left-atrium`` for ``left_atrium``."""
    return slug_of(f"heartseg {bundle}")


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the content of a metadata file. Raises InputError if it cannot be read or is not a JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); fix that, or remove it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({error}); fix it, or remove it") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not an object; fix it, or remove it")
    return content


def compose_metadata(
    bundle: str,
    owner: str = OWNER,
    base: Mapping[str, Any] | None = None,
    data: Sequence[str] = (),
    gpu: str | None = None,
    internet: bool | None = None,
    wheels: str | None = None,
    resume: bool = False,
    public: bool | None = None,
) -> dict[str, Any]:
    """Return the metadata of the kernel that trains a bundle.

    Args:
        bundle: its name.
        owner: user name on Kaggle.
        base: content of a ``kernel-metadata.json``, which the other arguments override; None for the defaults.
        data: data sets ``OWNER/SLUG`` to attach, in addition to those of the base.
        gpu: ``t4``, ``p100`` or ``none``; None: as in the base.
        internet: None: as in the base, and off with wheels.
        wheels: data set ``OWNER/SLUG`` of wheels to install from.
        resume: attach the output of the kernel's own last run.
        public: None: as in the base.

    Raises InputError for an unknown ``gpu``, and for data sets that are not ``OWNER/SLUG``.
    """
    if gpu is not None and gpu not in GPUS:
        raise InputError(f"--gpu {gpu}: is not a Kaggle GPU; use {', '.join([*GPUS][:-1])} or {[*GPUS][-1]}")
    for option, names in (("--data", data), ("--wheels", [wheels] if wheels else [])):
        for name in names:
            if fault := _fault(FIELDS["dataset_sources"], [name]):
                raise InputError(f"{option}: {fault}")
    found = {**DEFAULTS, **(base or {})}
    identity = f"{owner}/{kernel_of(bundle)}"
    found |= {"id": identity, "title": kernel_of(bundle).replace("-", " "), "code_file": DEFAULTS["code_file"]}
    if gpu is not None:
        found |= {"machine_shape": GPUS[gpu], "enable_gpu": GPUS[gpu] is not None}
    if internet is not None or wheels:
        found["enable_internet"] = bool(internet)
    if public is not None:
        found["is_private"] = not public
    found["dataset_sources"] = _with(found["dataset_sources"], *data, *([wheels] if wheels else []))
    found["kernel_sources"] = _with(found["kernel_sources"], *([identity] if resume else []))
    return found


def lint(metadata: Mapping[str, Any], folder: Path | None = None) -> list[str]:
    """Return the faults of a kernel's metadata, one line each with the field first; empty if there are none.

    Args:
        metadata: content of ``kernel-metadata.json``.
        folder: its folder, with the code file; None if that is not written yet.
    """
    faults = [
        f"{name}: is not a field of a kernel, {nearest(name, FIELDS)}; rename or remove it"
        for name in metadata
        if name not in FIELDS and name not in OTHERS
    ]
    faults += [
        f"{name}: is missing; add it" for name, field in FIELDS.items() if field.required and name not in metadata
    ]
    wrong = {name: _fault(field, metadata[name]) for name, field in FIELDS.items() if name in metadata}
    faults += [f"{name}: {fault}" for name, fault in wrong.items() if fault]
    valid = {name for name, fault in wrong.items() if not fault}
    if {"id", "title"} <= valid:
        faults += _title_faults(metadata)
    if "code_file" in valid:
        faults += _code_faults(metadata["code_file"], folder)
    return faults


def metadata_warnings(metadata: Mapping[str, Any]) -> list[str]:
    """Return what in valid metadata may not be intended, one line each."""
    found, machine = [], metadata.get("machine_shape")
    if machine == GPUS["p100"]:
        found.append(f"machine_shape: Kaggle retires {machine}, and newer torch builds do not support it; use t4")
    elif machine and machine not in MACHINES:
        found.append(f"machine_shape: {machine} is not known here; known are {', '.join(MACHINES)}")
    if machine and not metadata.get("enable_gpu") and not metadata.get("enable_tpu"):
        found.append(f"enable_gpu: is false, and machine_shape asks for {machine}")
    if not metadata.get("is_private"):
        found.append("is_private: is false: everybody can read the kernel and its output")
    return found


def _with(sources: Any, *more: str) -> Any:
    return list(dict.fromkeys([*sources, *more])) if isinstance(sources, list) else sources


def _fault(field: Field, value: Any) -> str | None:
    """Return what is wrong with a field's value; None if nothing is."""
    if isinstance(field.default, bool):
        return None if isinstance(value, bool) else f"{value!r} is not {field.form}; write one of them"
    if field.optional and value is None:
        return None
    if isinstance(field.default, list) and not isinstance(value, list):
        return f"{value!r} is not a list; write [] or a list of {field.form}"
    for item in value if isinstance(field.default, list) else [value]:
        if not isinstance(item, str) or not re.fullmatch(field.pattern, item):
            return f"{item!r} is not {field.form}; fix it"
    return None


def _title_faults(metadata: Mapping[str, Any]) -> list[str]:
    """Check the title's length, and that its slug is that of the id: otherwise Kaggle starts another kernel."""
    title, slug = metadata["title"], metadata["id"].partition("/")[2]
    if not MIN_TITLE <= len(title) <= MAX_TITLE:
        return [f"title: {title!r} has {len(title)} characters; give {MIN_TITLE} to {MAX_TITLE}"]
    if slug_of(title) != slug:
        return [f"title: {title!r} becomes {slug_of(title)}, and the id says {slug}; make them agree"]
    return []


def _code_faults(name: str, folder: Path | None) -> list[str]:
    """Check that the code file is in the folder, exists, and has a size that Kaggle accepts."""
    path = PureWindowsPath(name)  # knows both separators, and drives
    if path.drive or path.root or ".." in path.parts:
        return [f"code_file: {name} leads out of the folder; name a file in it"]
    if folder is None:
        return []
    if not (folder / name).is_file():
        return [f"code_file: there is no {folder / name}; write it with heartseg kaggle script BUNDLE"]
    size = (folder / name).stat().st_size
    return [f"code_file: {name} has {size:,} bytes, over Kaggle's {LIMIT:,}; make it smaller"] if size > LIMIT else []
