"""Weights from a file: plain state dicts, and one readable line where they do not fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from heartseg.errors import InputError

Network = TypeVar("Network", bound=nn.Module)
WRAPPERS = ("model", "state_dict", "ema", "network")  # keys under which others put the state dict


def load_weights(network: Network, weights: str | os.PathLike[str] | None) -> Network:
    """Load a state dict, bare or wrapped as ``{"model": ...}``, into a network, strictly; None leaves it as it is.

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
    network.load_state_dict(state)
    return network


_REMEDY = "give the overlay that they were trained with, or other weights"


def read_state(weights: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The state dict in a file, without running any code from it. Raises InputError."""
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"{path}: no such file; train first, or name other weights")
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
