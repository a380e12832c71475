"""Time of a training step of a bundle's network with channels_last and the default layout, alternately.

python benchmarks/layout.py [--bundle left_atrium] [--steps 10]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import torch

from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.machine import machine_line


def main() -> None:
    """Print the median seconds of a step in both layouts, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="left_atrium")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=2)
    arguments, _ = parser.parse_known_args()  # `make bench` passes scans, which are not used here

    folder = find_bundle(arguments.bundle)
    config = compose(folder, config_files(folder, "inference"), {})
    device = config.get_parsed_content("device")
    roi = config.get_parsed_content("roi_size")
    print(machine_line(device, False, 0))
    plain = config.get_parsed_content("network_def").to(device)
    networks = {
        "default": plain,
        "channels_last": copy.deepcopy(plain).to(memory_format=torch.channels_last_3d),
    }
    optimizers = {name: torch.optim.AdamW(network.parameters()) for name, network in networks.items()}
    image = torch.randn(arguments.batch, 1, *roi, device=device)
    label = torch.randint(0, 2, (arguments.batch, *roi), device=device)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for step in range(arguments.steps + 2):
        for name, network in networks.items():
            start = time.perf_counter()
            optimizers[name].zero_grad()
            torch.nn.functional.cross_entropy(network(image), label).backward()
            optimizers[name].step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if step >= 2:  # the first steps allocate and choose algorithms
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name}: {value:.3f} s per step")
    print(f"ratio: {medians['default'] / medians['channels_last']:.2f}")


if __name__ == "__main__":
    main()
