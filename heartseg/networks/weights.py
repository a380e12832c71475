"""Weights from a file: plain state dicts, one readable line where they do not fit, and what is noted beside them."""

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

from heartseg.errors import InputError

logger = logging.getLogger("heartseg")
Network = TypeVar("Network", bound=nn.Module)
OF_A_RUN = ("final.pt", "checkpoint.pt")  # what a run keeps beside model.pt
WRAPPERS = ("model", "state_dict", "ema", "network")  # keys under which others put the state dict


class Licence(TypedDict):
    """Terms that weights come under. ``file``: where they can be read, relative to the folder of the weights."""

    name: str
    commercial: bool
    file: NotRequired[str]


def load_weights(network: Network, weights: str | os.PathLike[str] | None) -> Network:
    """Load a state dict, bare or wrapped as ``{"model": ...}``, into a network, strictly; None leaves it as it is.

    A licence that is noted beside the weights (`licence_of`) is said in the log, once for a file and process.

    Raises InputError for a missing or damaged file, one that holds more than tensors, and weights of another
    network, naming the first layer that differs.
    """
    if weights is None:
        return network
    state = read_state(weights)
    own = network.state_dict()
    for name in [*own, *(name for name in state if name not in own)]:
        if name not in state or name not in own:
            where = "the weights lack" if name not in state else "the network lacks"
            raise InputError(f"{weights}: weights of another network: {where} layer {name}; {_REMEDY}")
        if state[name].shape != own[name].shape:
            shapes = f"{list(state[name].shape)} in the file, {list(own[name].shape)} in the network"
            raise InputError(f"{weights}: weights of another network: layer {name} is {shapes}; {_REMEDY}")
    _say_licence(Path(weights))
    network.load_state_dict(state)
    return network


_REMEDY = "give the overlay that they were trained with, or other weights"


def read_state(weights: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The state dict in a file, without running any code from it. Raises InputError."""
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_remedy_of_missing(path)}")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as weights ({reason[:120]}); give a PyTorch state dict") from None
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(map(torch.is_tensor, content.values())):
        raise InputError(f"{path}: holds no state dict (names and tensors); give the weights of a network")
    return dict(content)


def notes_file(weights: str | os.PathLike[str]) -> Path:
    """Where the cases and the licence of weights are noted: ``model.json`` beside ``model.pt``.

    All that a run keeps comes from the same cases and under the same licence, and shares ``model.json``.
    """
    path = Path(weights)
    return path.with_name("model.json") if path.name in OF_A_RUN else path.with_suffix(".json")


def read_notes(weights: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of the `notes_file` of weights; empty where there is none that can be read."""
    try:
        content = json.loads(notes_file(weights).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def licence_of(weights: str | os.PathLike[str]) -> Licence | None:
    """The licence that is noted beside weights, whether they are there or not; None where none is.

    Raises InputError for one that cannot be understood: terms of use are not passed over.
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
def _say_licence(weights: Path) -> None:
    licence = licence_of(weights)
    if licence is None:
        return
    terms = "" if licence["commercial"] else ": non-commercial use only"
    path = _licence_file(weights, licence)
    # A warning: below that, a program that has not set up logging shows nothing.
    logger.warning(f"{weights}: weights under {licence['name']}{terms}" + (f" (see {path})" if path else ""))


def _remedy_of_missing(weights: Path) -> str:
    licence = licence_of(weights)
    if licence is None or _licence_file(weights, licence) is None:
        return "train first, or name other weights"
    # Their notes and their licence came without them: a wheel.
    kept_out = f"their licence ({licence['name']}) keeps these weights out of the wheel"
    return f"{kept_out}: name those of a clone of the repository (--weights FILE), or train your own"
