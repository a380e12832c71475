"""Several processes that train or evaluate together, one for each GPU, as ``torchrun`` starts them.

Everything here also works in a single process, where it does nothing. Seeds, settings and the decision to stop must be
the same in all processes: one that goes its own way leaves the others waiting for it. The group itself is that of
`ignite.distributed`.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any, TypeVar

import ignite.distributed as idist
import torch
from torch.nn.parallel import DistributedDataParallel

from heartseg.errors import InputError

Item = TypeVar("Item")
TIMEOUT = timedelta(hours=2)  # how long a process waits for others: a download, the longest part of an evaluation
_MISSING = object()


def device() -> torch.device:
    """Return the device of this process: GPU number ``LOCAL_RANK``, or the CPU; without ``torchrun`` the first GPU.

    Raises InputError where there are GPUs, but fewer than processes.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if "LOCAL_RANK" not in os.environ:
        return torch.device("cuda")
    number = int(os.environ["LOCAL_RANK"])
    if number >= torch.cuda.device_count():
        raise InputError(
            f"torchrun --nproc_per_node: there are {torch.cuda.device_count()} GPUs for process {number + 1}; "
            "start one process for each"
        )
    return torch.device("cuda", number)


def join() -> None:
    """Form a group with the other processes that ``torchrun`` started, by NCCL on GPUs and Gloo on the CPU."""
    if "LOCAL_RANK" not in os.environ or idist.get_world_size() > 1:
        return
    hook = sys.excepthook  # torch wraps it, and then loses the one line that says what was wrong
    # Returns when the group is whole: a process that ended at once would reset connections that are being made.
    idist.initialize("nccl" if device().type == "cuda" else "gloo", timeout=TIMEOUT)
    sys.excepthook = hook
    atexit.register(idist.finalize)
    if not is_first():
        logging.disable(logging.INFO)  # the first process speaks for all


def size() -> int:
    """Return the number of processes."""
    return idist.get_world_size()


def rank() -> int:
    """Return the number of this process, from 0."""
    return idist.get_rank()


def is_first() -> bool:
    """Return whether this is the process that writes and speaks for all."""
    return rank() == 0


def wait() -> None:
    """Return when all processes have called this. If one has failed, which says why, the others exit in silence."""
    try:
        idist.barrier()
    except RuntimeError:
        raise SystemExit(1) from None


def share(items: Iterable[Item]) -> list[Item]:
    """Return this process's part of the items: every n-th of n processes, none twice.

    The first process's list counts, in case others found something else. All processes must call this.

    Raises InputError where there are fewer items than processes.
    """
    listed = list(items)
    if size() == 1:
        return listed
    shared = [listed]
    torch.distributed.broadcast_object_list(shared)  # ignite broadcasts tensors, numbers and text only
    if len(shared[0]) < size():
        raise InputError(f"{len(shared[0])} cases for {size()} processes; use at most one process per case")
    return shared[0][rank() :: size()]


def gather(items: Sequence[Item]) -> list[Item]:
    """Return the items of all processes, in every process, in the order of the items that `share` dealt out."""
    if size() == 1:
        return list(items)
    parts: Any = idist.all_gather(list(items))
    rows = zip_longest(*parts, fillvalue=_MISSING)
    return [item for item in chain.from_iterable(rows) if item is not _MISSING]


def highest(*numbers: float) -> tuple[float, ...]:
    """Return each number at its highest in any process."""
    return tuple(float(idist.all_reduce(float(number), "MAX")) for number in numbers)


def mean(number: float) -> float:
    """Return the mean of a number over the processes."""
    return float(idist.all_reduce(number, "SUM")) / size()


def parallel(network: torch.nn.Module) -> torch.nn.Module:
    """Return the network to train; with several processes, one whose gradients are the mean over all of them.

    Not `ignite.distributed.auto_model`, which turns to DataParallel where one process sees several GPUs.
    """
    if size() == 1:
        return network
    # Kernels of one voxel in channels_last have two equal descriptions of their layout; there is nothing to be done.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides", category=UserWarning)
    return DistributedDataParallel(network)
