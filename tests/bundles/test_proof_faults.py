"""One training of the ventricles that every fault befalls in turn, and that ends as one that had none."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from answers import refused
from faults import children_of, group_of, idle_children_of, monai_bundle, outcome, start, wait, when
from proof import command, warm_up, writes

from heartseg.config.bundles import find_bundle

EPOCHS = 5
GOES_ON = "the same command resumes it"


class Run:
    """A training in a folder: the same command again and again, each time with what it said."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.out, self.data, self.log = folder / "run", data, folder / "log"
        self.words = command("ventricles", data, self.out, 2, EPOCHS)
        self.line = ""  # for a shell, that does the same
        self.children: list[int] = []

    def begin(self, *more: object, before: Callable[[], None] | None = None) -> int:
        self.log.unlink(missing_ok=True)
        self.children.append(start([*self.words, *more], self.log, before))
        return self.children[-1]

    def training(self, child: int) -> bool:
        """Wait until a child trains: its two workers are at work."""
        return when(child, lambda: len(idle_children_of(child)) == 2)

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def lines(self, begin: str) -> list[str]:
        """Return the lines that start with this text; check that there is no traceback."""
        assert "Traceback" not in self.text, self.text
        return [line for line in self.text.splitlines() if line.startswith(begin)]

    @property
    def epoch(self) -> int:
        return int(torch.load(self.out / "checkpoint.pt", weights_only=True)["epoch"])

    @property
    def status(self) -> tuple[str, str]:
        summary = json.loads((self.out / "run_summary.json").read_text(encoding="utf-8"))
        return summary["status"], summary["stop_reason"]


@pytest.fixture(scope="module")
def whole(cines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    warm_up()
    folder = tmp_path_factory.mktemp("whole")
    assert wait(start(command("ventricles", cines, folder / "run", 0, EPOCHS), folder / "log")) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def run(cines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Stopped by SIGTERM after its first epoch."""
    run = Run(tmp_path_factory.mktemp("faults"), cines)
    child = run.begin()
    assert when(child, (run.out / "checkpoint.pt").exists), run.text
    os.kill(child, signal.SIGTERM)
    assert wait(child) == 128 + signal.SIGTERM
    assert run.lines("heartseg: ") == ["heartseg: SIGTERM: stopping after this step; send it again to quit at once"]
    assert run.lines(f"{run.out}: ") == [
        f"{run.out}: stopped by SIGTERM; epoch {run.epoch} of {EPOCHS} is saved; {GOES_ON}, in this folder"
    ]
    assert run.status == ("stopped", "stopped by SIGTERM")
    assert run.epoch < EPOCHS and group_of(child) == []
    (run.line,) = run.lines("cd ")
    yield run
    for child in run.children:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    shutil.rmtree(run.out)


def test_kill_9_leaves_no_process_and_the_last_checkpoint(run: Run) -> None:
    child, epoch = run.begin(), run.epoch
    assert run.training(child), run.text
    assert len(group_of(child)) == 3
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    until = time.monotonic() + 150
    while group_of(child) and time.monotonic() < until:
        time.sleep(0.1)
    assert group_of(child) == [] and run.epoch == epoch


def test_kill_9_in_a_write_and_a_damaged_checkpoint_leave_the_one_before(run: Run) -> None:
    last, before = (run.out / f"checkpoint{name}.pt" for name in ("", ".previous"))
    child = run.begin()
    assert when(child, lambda: before.exists() and writes(run.out)), run.text
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    assert run.epoch in (2, 3)  # both files are whole

    last.write_bytes(last.read_bytes()[:-1000])
    epoch = int(torch.load(before, weights_only=True)["epoch"])
    child = run.begin()
    assert run.training(child), run.text
    os.kill(child, signal.SIGTERM)
    assert wait(child) == 128 + signal.SIGTERM
    assert run.lines(f"{run.out}: ")[0] == f"{run.out}: resumes after epoch {epoch} of {EPOCHS}"


def test_ctrl_c_stops_it_and_no_second_run_can_use_its_folder(run: Run) -> None:
    """Ctrl-C reaches the workers too."""
    child, epoch = run.begin(), run.epoch
    assert run.training(child), run.text
    log = run.log.with_name("second")
    assert wait(start(run.words, log)) == 2
    said = [line for line in log.read_text().splitlines() if line.startswith("heartseg: ")]
    assert said == [f"heartseg: {run.out}: process {child} trains there; wait for it, or use another output folder"]
    assert "Traceback" not in log.read_text()
    os.killpg(child, signal.SIGINT)
    assert wait(child) == 128 + signal.SIGINT
    goes_on, stopped = run.lines(f"{run.out}: ")
    assert goes_on == f"{run.out}: resumes after epoch {epoch} of {EPOCHS}"
    assert stopped == f"{run.out}: stopped by SIGINT; epoch {run.epoch} of {EPOCHS} is saved; {GOES_ON}, in this folder"


def test_a_second_signal_leaves_at_once(run: Run) -> None:
    child, epoch = run.begin(), run.epoch
    assert run.training(child), run.text
    for _ in range(2):
        os.kill(child, signal.SIGTERM)
        when(child, lambda: "stopping after this step" in run.text)
    assert wait(child, 50) == 128 + signal.SIGTERM
    assert run.lines("heartseg: ")[-1] == "heartseg: SIGTERM again: quit at once"
    assert run.epoch == epoch


def test_a_signal_to_all_its_processes_stops_it_too(run: Run) -> None:
    """As `timeout` sends it: the workers are gone before the step ends."""
    child = run.begin()
    assert run.training(child), run.text
    os.killpg(child, signal.SIGTERM)
    assert wait(child) == 128 + signal.SIGTERM
    assert run.lines(f"{run.out}: ")[1:] == [
        f"{run.out}: stopped by SIGTERM; epoch {run.epoch} of {EPOCHS} is saved; {GOES_ON}, in this folder"
    ]


def test_a_worker_that_dies_is_reported_in_one_line(run: Run) -> None:
    child, epoch = run.begin(), run.epoch
    assert run.training(child), run.text
    worker = children_of(child)[0]
    os.kill(worker, signal.SIGKILL)
    assert wait(child) == 2
    assert run.lines("heartseg: ") == [
        f"heartseg: data loader process {worker}: was killed, perhaps because memory ran out; "
        "run the same command again, with --set num_workers=0 if it happens again"
    ]
    assert run.epoch == epoch and run.status[0] == "failed" and group_of(child) == []


def test_a_disk_that_fills_leaves_the_last_checkpoint(run: Run) -> None:
    """The checkpoint is larger than what may be written."""

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20 * 2**20, 20 * 2**20))

    epoch = run.epoch
    assert wait(run.begin(before=fill)) == 2
    (line,) = run.lines("heartseg: ")
    fault = "cannot be written (File too large); fix that, and the same command resumes the run"
    assert line == f"heartseg: {run.out / 'checkpoint.pt'}: {fault}"
    assert run.epoch == epoch and list(run.out.glob(".partial-*")) == []


def test_a_disk_that_is_full_before_anything_is_written(run: Run) -> None:
    """So that not even the record of the settings finds room; the log has none either."""

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    epoch = run.epoch
    assert wait(start(run.words, Path(os.devnull), fill)) == 2
    assert run.epoch == epoch and list(run.out.glob(".partial-*")) == []


def test_a_limit_of_time_stops_it(run: Run) -> None:
    """So short that at most one epoch ends."""
    before = run.epoch
    assert wait(run.begin("--max-minutes", 0.01)) == 0
    (changed,) = run.lines("max_minutes: ")
    _, stopped = run.lines(f"{run.out}: ")
    assert changed == "max_minutes: was None, is 0.01 now, from now on"
    assert (
        stopped
        == f"{run.out}: time limit of 0.01 minutes; epoch {run.epoch} of {EPOCHS} is saved; {GOES_ON}, in this folder"
    )
    assert run.status == ("stopped", "time limit of 0.01 minutes") and run.epoch <= before + 1


def test_another_network_is_refused_and_all_stays_as_it_was(run: Run) -> None:
    before = {path.name: path.read_bytes() for path in run.out.glob("*.*") if path.is_file()}
    assert wait(run.begin("--overlay", "attention")) == 2
    (line,) = run.lines("heartseg: ")
    said = (
        "cannot resume with other settings: network was UNet, is AttentionUnet now; set it back, or use another folder"
    )
    assert line == f"heartseg: {run.out / 'checkpoint.pt'}: {said}"
    after = {path.name: path.read_bytes() for path in run.out.glob("*.*") if path.is_file()}
    assert {**after, "run.lock": b""} == {**before, "run.lock": b""}


def test_the_checkpoint_of_another_bundle_is_refused(run: Run, phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(run.out, tmp_path / "run")
    assert wait(start(command("left_atrium", phantoms, tmp_path / "run", 0, EPOCHS), tmp_path / "log")) == 2
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("heartseg: ")]
    assert line.startswith(f"heartseg: {tmp_path / 'run' / 'checkpoint.pt'}: cannot resume with other settings: ")
    assert "classes was " in line and "Traceback" not in (tmp_path / "log").read_text()


def test_a_file_in_place_of_the_folder_is_refused(run: Run, heartseg: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    line = refused(heartseg(*command("ventricles", run.data, tmp_path / "file")))
    assert line == f"{tmp_path / 'file'}: is a file, not a folder; use another output folder"
    assert (tmp_path / "file").read_text() == "no folder"


def test_at_last_it_ends_through_monai_and_nothing_is_to_be_seen(run: Run, whole: Path) -> None:
    """By `python -m monai.bundle run training`."""
    words = shlex.split(run.line)
    epoch = run.epoch
    run.log.unlink(missing_ok=True)
    assert wait(monai_bundle(find_bundle("ventricles"), words[words.index("monai.bundle") + 1 :], run.log)) == 0
    assert run.lines(f"{run.out}: ") == [f"{run.out}: resumes after epoch {epoch} of {EPOCHS}"]
    assert run.status == ("finished", "all epochs done")
    assert outcome(run.out) == outcome(whole)
