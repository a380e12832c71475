"""Two processes that work together, as torchrun begins them, without the seconds that imports take."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faults import fork, wait
from torch.distributed import TCPStore

PAIR = 2
STORES: list[TCPStore] = []  # for as long as the tests run: a child may end later than its test


def begin(call: Callable[[int], Any], folder: Path) -> list[int]:
    """Begin a call in each of two children, with its number; the children's ids. ``FOLDER/0.log`` is the first's.

    They meet at a store of this process's own, as those of torchrun do: its port is taken before anyone asks for it, so
    that no other test can take it, and it outlives both.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    STORES.append(store)

    def child(number: int) -> Callable[[], None]:
        def run() -> None:
            os.environ.update(
                RANK=str(number),
                LOCAL_RANK=str(number),
                WORLD_SIZE=str(PAIR),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(store.port),
                TORCHELASTIC_RUN_ID="test",
                TORCHELASTIC_USE_AGENT_STORE="True",
            )
            call(number)

        return run

    return [fork(child(number), folder / f"{number}.log") for number in range(PAIR)]


def together(call: Callable[[int], Any], folder: Path) -> None:
    """Do a call in each of two processes, to its end."""
    statuses = [wait(child) for child in begin(call, folder)]
    logs = [(folder / f"{number}.log").read_text() for number in range(PAIR)]
    assert statuses == [0] * PAIR, "\n".join(logs)


def command(words: Sequence[object], after: Callable[[Any, int], None] | None = None) -> Callable[[int], None]:
    """``heartseg WORDS``; ``after`` is given the bundle's parser, and the process's number, when the run is over."""

    def run(number: int) -> None:
        import heartseg.config.bundle_runs
        from heartseg.cli.app import main

        if after is not None:

            class Told(heartseg.config.bundle_runs.ConfigWorkflow):
                def finalize(self) -> Any:
                    after(self.parser, number)
                    return super().finalize()

            heartseg.config.bundle_runs.ConfigWorkflow = Told  # type: ignore[misc]
        sys.argv = ["heartseg", *map(str, words)]
        main()

    return run
