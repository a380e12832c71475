"""Describe the machine that a run uses: one line at its start, and its memory use."""

from __future__ import annotations

import sys

import psutil
import torch

GIB = 1024**3


def device_name(device: torch.device | str) -> str:
    """Return a device's name: ``cpu (2 threads)`` or ``cuda:0 (NVIDIA H200)``."""
    device = torch.device(device)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return f"cuda:{index} ({torch.cuda.get_device_name(index)})"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu ({threads} thread{'s' if threads != 1 else ''})"
    return str(device)


def precision(device: torch.device | str, amp: bool, amp_dtype: torch.dtype = torch.float16) -> str:
    """Return the precision that MONAI's engines compute in: their ``amp`` has an effect on CUDA only."""
    if not amp:
        return "float32"
    if torch.device(device).type != "cuda":
        return "float32 (amp needs a GPU)"
    return f"mixed {str(amp_dtype).removeprefix('torch.')}"


def machine_line(
    device: torch.device | str, amp: bool, num_workers: int, amp_dtype: torch.dtype = torch.float16
) -> str:
    """Return the first line of a run: device, precision, workers, free memory, and on CUDA free GPU memory.

    Example: ``device cpu (2 threads) | precision float32 | workers 2 | free memory 21.3 GiB``.
    """
    parts = [
        f"device {device_name(device)}",
        f"precision {precision(device, amp, amp_dtype)}",
        f"workers {num_workers}",
        f"free memory {psutil.virtual_memory().available / GIB:.1f} GiB",
    ]
    if torch.device(device).type == "cuda":
        free, total = torch.cuda.mem_get_info(torch.device(device))
        parts.append(f"free GPU memory {free / GIB:.1f} of {total / GIB:.1f} GiB")
    return " | ".join(parts)


def memory(device: torch.device | str) -> dict[str, float]:
    """Return GiB in use now: ``process`` (resident, without workers); on CUDA also ``gpu`` and ``gpu_peak``."""
    used = {"process": psutil.Process().memory_info().rss / GIB}
    if torch.device(device).type == "cuda":
        used["gpu"] = torch.cuda.memory_allocated(torch.device(device)) / GIB
        used["gpu_peak"] = torch.cuda.max_memory_allocated(torch.device(device)) / GIB
    return used


def peak_memory(device: torch.device | str) -> dict[str, float]:
    """Return the peak GiB since the program started: ``process`` and, on CUDA, ``gpu`` (memory of tensors)."""
    if sys.platform == "win32":
        peak = psutil.Process().memory_info().peak_wset
    else:
        import resource

        # kibibytes on Linux, bytes on macOS
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    used = {"process": peak / GIB}
    if torch.device(device).type == "cuda":
        used["gpu"] = torch.cuda.max_memory_allocated(torch.device(device)) / GIB
    return used
