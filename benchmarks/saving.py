"""Cost of saving a checkpoint after every epoch: training steps of a bundle and saves, alternately.

python benchmarks/saving.py DATA [--bundle left_atrium] [--overlay cpu] [--steps 12]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import chdir
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.utils import set_determinism

from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.machine import machine_line


def main() -> None:
    """Print the median seconds of a step with its data, of an epoch and of a save, and the share of saving."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", default="left_atrium")
    parser.add_argument("--overlay", action="append", default=[])
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()

    folder = find_bundle(arguments.bundle)
    with tempfile.TemporaryDirectory() as out, chdir(folder):
        paths = {"dataset_dir": str(arguments.data.resolve()), "output_dir": out}
        config = compose(folder, config_files(folder, "train", arguments.overlay), {}, paths)
        set_determinism(config.get_parsed_content("seed"))
        device, amp, workers = map(config.get_parsed_content, ("device", "amp", "num_workers"))
        print(machine_line(device, amp, workers))
        config.get_parsed_content("validate::early_stop").set_trainer(config.get_parsed_content("train::trainer"))
        trainer, resume = config.get_parsed_content("train::trainer"), config.get_parsed_content("resume")
        steps: list[float] = []
        saves: list[float] = []
        began = time.perf_counter()

        def stepped(engine: Engine) -> None:
            nonlocal began
            if device.type == "cuda":
                torch.cuda.synchronize()
            steps.append(time.perf_counter() - began)
            start = time.perf_counter()
            resume.save(engine)
            saves.append(time.perf_counter() - start)
            if len(steps) == arguments.steps + 2:
                engine.terminate(skip_completed=True)
            began = time.perf_counter()

        trainer.add_event_handler(Events.ITERATION_COMPLETED, stepped)
        trainer.run()
        size = (Path(out) / "checkpoint.pt").stat().st_size / 2**20
        # The first two steps allocate, choose algorithms and create the optimizer's state.
        step, save = statistics.median(steps[2:]), statistics.median(saves[2:])
        epoch = step * trainer.state.epoch_length
    print(f"one step {step:.3f} s, an epoch of {trainer.state.epoch_length} steps {epoch:.1f} s")
    print(f"one save {save:.3f} s ({size:.0f} MiB): {100 * save / epoch:.2f} % of an epoch")


if __name__ == "__main__":
    main()
