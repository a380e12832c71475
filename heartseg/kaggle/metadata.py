"""``kernel-metadata.json``: what it may hold, and what the kaggle client would let pass that is wrong."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath
from typing import Any

from heartseg.errors import InputError
from heartseg.kaggle.script import LIMIT

FILE = "kernel-metadata.json"
OWNER = "OWNER"  # stands for whoever is signed in
GPUS = {"t4": "NvidiaTeslaT4", "p100": "NvidiaTeslaP100", "none": None}  # names of machine_shape
MACHINES = [name for name in GPUS.values() if name]
# All fields that a kernel's metadata may have, with what is pushed where nothing else is said.
DEFAULTS: dict[str, Any] = {
    "id": None,
    "title": None,
    "code_file": "kernel.py",
    "language": "python",
    "kernel_type": "script",
    "is_private": True,
    "enable_gpu": True,
    "enable_tpu": False,
    "enable_internet": True,
    "machine_shape": GPUS["t4"],
    "dataset_sources": [],
    "competition_sources": [],
    "kernel_sources": [],
    "model_sources": [],
    "keywords": [],
    "docker_image": None,
    "docker_image_pinning_type": None,
}
OTHERS = ("id_no",)  # which the client knows too
# Without these Kaggle refuses a kernel, or takes what nobody has said.
REQUIRED = ("id", "title", "code_file", "language", "kernel_type", "is_private", "enable_gpu", "enable_internet")
LANGUAGES, TYPES, PINNING = ("python", "r", "rmarkdown"), ("script", "notebook"), ("original", "latest")
NAME = "[A-Za-z0-9][A-Za-z0-9_-]*"
SOURCES = {
    "dataset_sources": (rf"{NAME}/{NAME}(/\d+)?", "OWNER/SLUG"),
    "kernel_sources": (rf"{NAME}/{NAME}(/\d+)?", "OWNER/SLUG"),
    "competition_sources": (NAME, "SLUG"),
    "model_sources": (rf"{NAME}/{NAME}/{NAME}/{NAME}/\d+", "OWNER/MODEL/FRAMEWORK/NAME/VERSION"),
    "keywords": (r"\S.*", "a tag"),
}
MIN_TITLE, MAX_TITLE = 5, 50  # letters, as Kaggle takes them


def slug_of(title: str) -> str:
    """The name in the address that Kaggle makes of a title: ``Left Atrium (2)`` is ``left-atrium-2``."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def kernel_of(bundle: str) -> str:
    """The name of the kernel that trains a bundle: ``left_atrium`` is trained by ``heartseg-left-atrium``."""
    return slug_of(f"heartseg {bundle}")


def read_metadata(path: Path) -> dict[str, Any]:
    """The content of a metadata file. Raises InputError where it cannot be read or is no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); mend that, or remove it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({error}); mend it, or remove it") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not an object; mend it, or remove it")
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
    """The metadata of the kernel that trains a bundle.

    Args:
        bundle: its name.
        owner: user name on Kaggle.
        base: content of a ``kernel-metadata.json``, over which the rest is laid; None for none.
        data: data sets ``OWNER/SLUG`` to attach, beside those of the base.
        gpu: ``t4``, ``p100`` or ``none``; None: as in the base.
        internet: None: as in the base, and off with wheels.
        wheels: data set ``OWNER/SLUG`` of wheels to install from.
        resume: attach the output of the kernel's own last run.
        public: None: as in the base.

    Raises InputError for an unknown ``gpu``.
    """
    if gpu is not None and gpu not in GPUS:
        raise InputError(f"--gpu {gpu}: is none that Kaggle lends; give {', '.join(GPUS)}")
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
    """What is wrong with a kernel's metadata, a line for each fault, the field first; empty where nothing is.

    Args:
        metadata: content of ``kernel-metadata.json``.
        folder: where it lies, with the file of code; None: that is not there yet.
    """
    faults = [
        f"{name}: is no field of a kernel{_near(name)}; mend its name, or remove it"
        for name in metadata
        if name not in DEFAULTS and name not in OTHERS
    ]
    faults += [f"{name}: is missing; write it" for name in REQUIRED if name not in metadata]
    wrong = {name: check(metadata[name]) for name, check in CHECKS.items() if name in metadata}
    faults += [f"{name}: {fault}" for name, fault in wrong.items() if fault]
    sound = {name for name, fault in wrong.items() if not fault}
    if {"id", "title"} <= sound:
        faults += _names(metadata)
    if "code_file" in sound:
        faults += _code(metadata["code_file"], folder)
    return faults


def doubts(metadata: Mapping[str, Any]) -> list[str]:
    """What of sound metadata may not do what is meant, a line each."""
    found, machine = [], metadata.get("machine_shape")
    if machine == GPUS["p100"]:
        found.append(f"machine_shape: Kaggle retires {machine}, and newer torch builds do not know it; take t4")
    elif machine and machine not in MACHINES:
        found.append(f"machine_shape: {machine} is not known here; known are {', '.join(MACHINES)}")
    if machine and not metadata.get("enable_gpu") and not metadata.get("enable_tpu"):
        found.append(f"enable_gpu: is false, and machine_shape asks for {machine}")
    if not metadata.get("is_private"):
        found.append("is_private: is false: everybody can read the kernel and take what it leaves behind")
    return found


def _with(sources: Any, *more: str) -> Any:
    return list(dict.fromkeys([*sources, *more])) if isinstance(sources, list) else sources


def _near(name: str) -> str:
    near = get_close_matches(name, DEFAULTS, n=1)
    return f", did you mean {near[0]}?" if near else ""


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else f"{value!r} is not text; give one"


def _identity(value: Any) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(rf"{NAME}/{NAME}", value):
        return f"{value!r} is not OWNER/SLUG; put your Kaggle user name before the slash"
    return None


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"{value!r} is not true or false; write one, without quotes"


def _one_of(*values: str, none: bool = False) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if value in values or (none and value is None):
            return None
        return f"{value!r} is unknown; write {' or '.join(values)}{' or null' if none else ''}"

    return check


def _text_or_none(value: Any) -> str | None:
    return None if value is None or isinstance(value, str) else f"{value!r} is neither text nor null; give one"


def _sources(pattern: str, form: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"{value!r} is no list; write [] or a list of {form}"
        wrong = [item for item in value if not isinstance(item, str) or not re.fullmatch(pattern, item)]
        return f"{wrong[0]!r} is not {form}; mend it" if wrong else None

    return check


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "id": _identity,
    "title": _text,
    "code_file": _text,
    "language": _one_of(*LANGUAGES),
    "kernel_type": _one_of(*TYPES),
    **dict.fromkeys(("is_private", "enable_gpu", "enable_tpu", "enable_internet"), _truth),
    "machine_shape": _text_or_none,
    **{name: _sources(*form) for name, form in SOURCES.items()},
    "docker_image": _text_or_none,
    "docker_image_pinning_type": _one_of(*PINNING, none=True),
}


def _names(metadata: Mapping[str, Any]) -> list[str]:
    """Whether the title is one, and makes the slug of the id: else Kaggle starts another kernel."""
    title, slug = metadata["title"], metadata["id"].partition("/")[2]
    if not MIN_TITLE <= len(title) <= MAX_TITLE:
        return [f"title: {title!r} has {len(title)} letters; give {MIN_TITLE} to {MAX_TITLE}"]
    if slug_of(title) != slug:
        return [f"title: {title!r} becomes {slug_of(title)}, and the id says {slug}; let them fit"]
    return []


def _code(name: str, folder: Path | None) -> list[str]:
    """Whether the file of code is one of this folder, is there, and of a size that Kaggle takes."""
    path = PureWindowsPath(name)  # knows both separators, and drives
    if path.drive or path.root or ".." in path.parts:
        return [f"code_file: {name} leads out of the folder; name a file in it"]
    if folder is None:
        return []
    if not (folder / name).is_file():
        return [f"code_file: there is no {folder / name}; make it with heartseg kaggle script BUNDLE"]
    size = (folder / name).stat().st_size
    if size > LIMIT:
        return [f"code_file: {name} has {size:,} bytes, and Kaggle takes {LIMIT:,}; make it smaller"]
    return []
