"""Time and memory of one mask, compared with plain sliding-window inference with the same weights.

    python benchmarks/inference.py SCAN... [--repeats 3]

Both methods run from the file to the mask on the file's grid, alternately in this process. The ratio matters, as the
seconds depend on the machine. The plain method is MONAI's SlidingWindowInferer with the bundle's window, overlap and
batch size.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
from monai.inferers import SlidingWindowInferer
from rich.console import Console
from rich.table import Table

from heartseg.inference.segmenter import Segmenter
from heartseg.machine import machine_line


def main() -> None:
    """Print a table: seconds of both methods, ratio, windows visited, voxels that differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--bundle", default="left_atrium")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    ours = Segmenter(arguments.bundle)
    visiting = ours.inferer
    plain = SlidingWindowInferer(visiting.roi_size, visiting.sw_batch_size, visiting.overlap, mode="gaussian")
    print(machine_line(ours.device, ours.amp, 0))
    table = Table(title=f"One scan to one mask, median of {arguments.repeats}")
    for column in ("scan", "shape", "heartseg s", "plain s", "ratio", "windows", "masks"):
        table.add_column(column, justify="left" if column == "scan" else "right")
    for scan in arguments.scans:
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        masks: dict[str, torch.Tensor] = {}
        for _ in range(arguments.repeats):
            for name, inferer in (("ours", visiting), ("plain", plain)):
                ours.inferer = inferer
                start = time.perf_counter()
                masks[name] = ours(scan).tensor.as_tensor()
                seconds[name].append(time.perf_counter() - start)
        times = {name: statistics.median(values) for name, values in seconds.items()}
        differing = int((masks["ours"] != masks["plain"]).sum())
        table.add_row(
            scan.name,
            "x".join(map(str, masks["ours"].shape[1:])),
            f"{times['ours']:.2f}",
            f"{times['plain']:.2f}",
            f"{times['plain'] / times['ours']:.2f}",
            f"{visiting.visited} of {visiting.windows}",
            "equal" if not differing else f"{differing} voxels differ",
        )
    Console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    print(f"peak memory of this process, both methods: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
