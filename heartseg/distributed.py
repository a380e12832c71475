"""Several processes that train or judge together, one for each GPU, as ``torchrun`` starts them.

All of it also works in a process that is alone, where it does nothing. What is random, which settings count and when a
run ends has to be the same in all of them: a process that goes its own way leaves the others waiting for it.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import zip_longest
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from heartseg.errors import InputError

Item = TypeVar("Item")
PATIENCE = timedelta(hours=2)  # how long a process waits for the others: a download, the largest share of an evaluation
_NONE = object()


def join() -> torch.device:
    """Meet the other processes that ``torchrun`` started; the device of this one.

    NCCL where there are GPUs, the one of this process being number ``LOCAL_RANK``, and Gloo on the CPU. Without
    ``torchrun`` this process is alone, with the first GPU or the CPU.

    Raises InputError where there are GPUs, but fewer than processes.
    """
    cuda = torch.cuda.is_available()
    if "LOCAL_RANK" not in os.environ:
        return torch.device("cuda" if cuda else "cpu")
    number = int(os.environ["LOCAL_RANK"])
    if cuda and number >= torch.cuda.device_count():
        raise InputError(
            f"torchrun --nproc_per_node: there are {torch.cuda.device_count()} GPUs for process {number + 1}; "
            "start one process for each"
        )
    device = torch.device("cuda", number) if cuda else torch.device("cpu")
    if not dist.is_initialized():
        if cuda:
            torch.cuda.set_device(device)
        hook = sys.excepthook  # torch wraps it, and then loses the one line that tells people what was wrong
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE, device_id=device if cuda else None)
        sys.excepthook = hook
        atexit.register(_leave)
        # The group is whole before anyone goes on: one that ended at once would reset a connection still being made.
        dist.barrier()
        if not first():
            logging.disable(logging.INFO)  # what all have to say the first says
    return device


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return rank() == 0


def wait() -> None:
    """Go on when all processes have come here. One that waits for a process which has failed ends too, silently."""
    if size() > 1:
        try:
            dist.barrier()
        except RuntimeError:  # the one that failed has said why
            raise SystemExit(1) from None


def share(items: Iterable[Item]) -> list[Item]:
    """The part of the items that is this process's: every so manieth, none in two processes.

    The list of the first process counts, whatever the others found meanwhile. All processes have to ask.

    Raises InputError where there is not one for each process.
    """
    listed = list(items)
    if size() == 1:
        return listed
    told = [listed]
    dist.broadcast_object_list(told)
    if len(told[0]) < size():
        raise InputError(f"{len(told[0])} cases for {size()} processes; start one process for each case at most")
    return told[0][rank() :: size()]


def gather(items: Sequence[Item]) -> list[Item]:
    """What the processes made of the items that they got from `share`, in the order of these, in every process."""
    if size() == 1:
        return list(items)
    parts: list[Any] = [None] * size()
    dist.all_gather_object(parts, list(items))
    return [item for row in zip_longest(*parts, fillvalue=_NONE) for item in row if item is not _NONE]


def highest(*numbers: float) -> tuple[float, ...]:
    """Each number at its highest in any process."""
    return tuple(_reduced(numbers, dist.ReduceOp.MAX))


def mean(number: float) -> float:
    """The mean of a number over the processes."""
    return _reduced([number], dist.ReduceOp.SUM)[0] / size()


def parallel(network: torch.nn.Module) -> torch.nn.Module:
    """The network as it is trained: with several processes, one whose gradients are the mean over all of them."""
    if size() == 1:
        return network
    # Of kernels of one voxel in channels_last, whose layout has two descriptions; once, and nothing to be done.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides", category=UserWarning)
    return DistributedDataParallel(network)


def _reduced(numbers: Sequence[float], how: Any) -> list[float]:
    if size() == 1:
        return list(numbers)
    cuda = dist.get_backend() == "nccl"
    values = torch.tensor(numbers, dtype=torch.float64, device="cuda" if cuda else "cpu")
    dist.all_reduce(values, how)
    return values.tolist()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
