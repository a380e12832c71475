"""The line about the machine, and memory in GiB."""

import re

import psutil
import pytest
import torch

from heartseg.machine import device_name, machine_line, memory, peak_memory, precision

GIB = 1024**3


@pytest.fixture
def gpu(monkeypatch):
    """A GPU with 80 GiB, 70 of them free, 2 in use, 5 at the peak."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 * GIB)


def test_machine_line_on_a_cpu():
    threads = torch.get_num_threads()
    device = f"device cpu ({threads} thread{'s' if threads != 1 else ''})"
    line = machine_line("cpu", False, 2)
    assert re.sub(r"\d+\.\d GiB$", "N GiB", line) == f"{device} | precision float32 | workers 2 | free memory N GiB"


def test_machine_line_on_a_gpu(gpu, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 20.25 * GIB}))
    assert machine_line(torch.device("cuda"), True, 0) == (
        "device cuda:0 (GPU 0) | precision mixed float16 | workers 0 | free memory 20.2 GiB"
        " | free GPU memory 70.0 of 80.0 GiB"
    )


@pytest.mark.parametrize(
    ("device", "amp", "dtype", "expected"),
    [
        ("cpu", False, torch.float16, "float32"),
        ("cpu", True, torch.float16, "float32 (amp needs a GPU)"),
        ("cuda:1", False, torch.float16, "float32"),
        ("cuda:1", True, torch.bfloat16, "mixed bfloat16"),
    ],
)
def test_precision_is_the_one_computed_in(device, amp, dtype, expected):
    assert precision(device, amp, dtype) == expected


def test_device_name(gpu):
    assert device_name("cuda:3") == "cuda:3 (GPU 3)"
    assert device_name("mps") == "mps"


def test_memory_on_a_cpu():
    now, peak = memory("cpu"), peak_memory("cpu")
    assert set(now) == set(peak) == {"process"}
    assert now["process"] == pytest.approx(psutil.Process().memory_info().rss / GIB, rel=0.2)
    assert 0.01 < peak["process"] < 100  # an error in the unit would be a factor of 1024


def test_memory_on_a_gpu(gpu):
    now, peak = memory("cuda"), peak_memory("cuda")
    assert (now["gpu"], now["gpu_peak"]) == (2.0, 5.0)
    assert peak["gpu"] == 5.0
