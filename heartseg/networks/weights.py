"""Weights from a file: plain state dicts, readable errors if they do not fit, and their notes and licence."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

import torch
from torch import nn

from heartseg.errors import InputError, first_line

logger = logging.getLogger("heartseg")
Network = TypeVar("Network", bound=nn.Module)
OF_A_RUN = ("final.pt", "checkpoint.pt")  # files in a run's folder that share the notes of model.pt
WRAPPERS = ("model", "state_dict", "ema", "network")  # keys under which other programs store the state dict
REMEDY = "give the overlay that they were trained with, or other weights"


class Licence(TypedDict):
    """The licence of weights; ``file`` holds its text and is relative to the folder of the weights."""

    name: str
    commercial: bool
    file: NotRequired[str]


def load_weights(network: Network, weights: str | os.PathLike[str] | None) -> Network:
    """Load a state dict, bare or wrapped as ``{"model": ...}``, into a network, strictly; None loads nothing.

    The licence of the weights (`licence_of`) is logged, once per file and process.

    Raises InputError for a file that is missing, damaged or holds other objects than tensors, and for weights of
    another network, with the first layer that differs.
    """
    if weights is None:
        return network
    state = read_state(weights)
    own = network.state_dict()
    for name in [*own, *(name for name in state if name not in own)]:
        if name not in state or name not in own:
            where = "the weights lack" if name not in state else "the network lacks"
            raise InputError(f"{weights}: weights of another network: {where} layer {name}; {REMEDY}")
        if state[name].shape != own[name].shape:
            shapes = f"{list(state[name].shape)} in the file, {list(own[name].shape)} in the network"
            raise InputError(f"{weights}: weights of another network: layer {name} is {shapes}; {REMEDY}")
    _log_licence(Path(weights))
    network.load_state_dict(state)
    return network


def check_weights(weights: str | os.PathLike[str]) -> Path:
    """Return the path of weights. Raises InputError if it is not that of a file."""
    path = Path(weights)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the file with the weights, such as {path / 'model.pt'}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_remedy_of_missing(path)}")
    return path


def read_state(weights: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the state dict in a file, without running any code from it. Raises InputError."""
    path = check_weights(weights)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler raise nearly anything
        reason = first_line(error)[:120]
        raise InputError(f"{path}: cannot be read as weights ({reason}); give a PyTorch state dict") from None
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(map(torch.is_tensor, content.values())):
        raise InputError(f"{path}: is not a state dict (names and tensors); give the weights of a network")
    return dict(content)


def notes_file(weights: str | os.PathLike[str]) -> Path:
    """Return the file with the cases and the licence of weights: ``model.json`` next to ``model.pt``.

    All weights of a run come from the same cases and have the same licence, so they share ``model.json``.
    """
    path = Path(weights)
    return path.with_name("model.json") if path.name in OF_A_RUN else path.with_suffix(".json")


def read_notes(weights: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of the `notes_file` of weights; empty if there is none or it cannot be read."""
    try:
        content = json.loads(notes_file(weights).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def licence_of(weights: str | os.PathLike[str]) -> Licence | None:
    """Return the licence in the notes of weights, even if the weights are missing; None if there is none.

    Raises InputError for a licence that cannot be read, as terms of use must not be ignored.
    """
    noted = read_notes(weights).get("licence")
    if noted is None:
        return None
    if isinstance(noted, dict):
        name, commercial, file = (noted.get(key) for key in ("name", "commercial", "file"))
        if isinstance(name, str) and name.split() and isinstance(commercial, bool) and isinstance(file, str | None):
            licence = Licence(name=" ".join(name.split()), commercial=commercial)
            if file is not None:
                licence["file"] = file
            return licence
    example = '{"name": "CC BY-NC-SA 4.0", "commercial": false}'
    raise InputError(f'{notes_file(weights)}: "licence" cannot be read; write {example}')


def _licence_file(weights: Path, licence: Licence) -> Path | None:
    path = Path(os.path.normpath(weights.parent / licence["file"])) if "file" in licence else None
    return path if path and path.is_file() else None


@cache
def _log_licence(weights: Path) -> None:
    licence = licence_of(weights)
    if licence is None:
        return
    terms = "" if licence["commercial"] else ": non-commercial use only"
    path = _licence_file(weights, licence)
    # A warning, as lower levels are not shown unless the program sets up logging.
    logger.warning(f"{weights}: weights under {licence['name']}{terms}" + (f" (see {path})" if path else ""))


def _remedy_of_missing(weights: Path) -> str:
    licence = licence_of(weights)
    if licence is None or _licence_file(weights, licence) is None:
        return "train first, or give other weights"
    # Notes and licence without weights: this is an installed wheel.
    excluded = f"their licence ({licence['name']}) keeps these weights out of the wheel"
    return f"{excluded}: give those of a clone of the repository (--weights FILE), or train your own"
