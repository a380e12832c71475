"""A training of a few weights with all that a run has: it is built anew, as a new process would, and killed at will."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from ignite.metrics import Average
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler, stopping_fn_from_metric
from monai.transforms import Compose, RandGaussianNoised
from torch.optim import lr_scheduler as schedules

from heartseg.handlers import FinalValidation, ResumableEarlyStop
from heartseg.training import ExactResume
from heartseg.training.checkpoints import load_checkpoint
from heartseg.training.seeding import EpochSampler, SeededCacheDataset, seed_everything

CASES = [{"image": torch.linspace(-1, 1, 4) * case, "label": torch.tensor([case % 3.0])} for case in range(8)]
FILES = {"checkpoint.pt", "checkpoint.previous.pt", "model.pt", "final.pt"}  # of a run
KINDS = ["chained", "sequential", "by epoch"]  # of schedule


class Killed(BaseException):
    """As kill -9: nothing that a run would do after an error may depend on it."""


class History:
    """For each epoch its number, the rate it began with, its losses and the validation's metric."""

    def __init__(self, optimizer: torch.optim.Optimizer, validator: SupervisedEvaluator) -> None:
        self.rows: list[dict[str, Any]] = []
        self.optimizer, self.validator = optimizer, validator

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        self.validator.add_event_handler(Events.COMPLETED, self._judge)

    def _begin(self, engine: SupervisedTrainer) -> None:
        rate = self.optimizer.param_groups[0]["lr"]
        self.rows.append({"epoch": engine.state.epoch, "rate": rate, "losses": []})

    def _step(self, engine: SupervisedTrainer) -> None:
        self.rows[-1]["losses"].append(float(engine.state.output[0]["loss"]))

    def _judge(self, engine: SupervisedEvaluator) -> None:
        self.rows[-1]["metric"] = float(engine.state.metrics[engine.state.key_metric_name])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows = [dict(row) for row in state["rows"]]


def schedule_of(kind: str, optimizer: torch.optim.Optimizer, steps: int) -> schedules.LRScheduler:
    """The courses of the learning rate that the bundles have."""
    if kind == "by epoch":
        return schedules.StepLR(optimizer, 2, 0.5)
    warm = schedules.LinearLR(optimizer, 0.1, total_iters=3)
    if kind == "chained":
        return schedules.ChainedScheduler([warm, schedules.PolynomialLR(optimizer, steps, 0.9)])
    restarts = schedules.CosineAnnealingWarmRestarts(optimizer, 5)
    return schedules.SequentialLR(optimizer, [warm, restarts], [3])


class Toy:
    """A training in a folder; ``run`` does what the command does.

    Args:
        scores: the metric of each epoch's validation; None: minus the mean error.
        metric: its name.
        act: called with the trainer after every step.
        scaler: of gradients.
        options: of the optimizer.
    """

    def __init__(
        self,
        folder: Path,
        epochs: int = 5,
        interval: int = 2,
        rate: float = 0.1,
        batch: int = 2,
        kind: str = "chained",
        patience: int = 99,
        width: int = 3,
        workers: int = 0,
        scores: Sequence[float] | None = None,
        metric: str = "val_mean_dice",
        act: Callable[[SupervisedTrainer], None] | None = None,
        scaler: bool = False,
        fixed: Mapping[str, Any] | None = None,
        minutes: float | None = None,
        decay: float = 0.0,
        options: Mapping[str, Any] | None = None,
        optimizer_of: type[torch.optim.Optimizer] = torch.optim.AdamW,
    ) -> None:
        seed_everything(0)
        layers = [torch.nn.Linear(4, width), torch.nn.BatchNorm1d(width), torch.nn.Dropout(0.3)]
        net = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))
        self.net = net
        optimizer = optimizer_of(net.parameters(), lr=rate, weight_decay=decay, **(options or {}))
        data = SeededCacheDataset(CASES, Compose([RandGaussianNoised("image", 1.0)]), progress=False, seed=1)
        self.sampler = EpochSampler(data, seed=1)
        loader = DataLoader(
            data,
            batch_size=batch,
            sampler=self.sampler,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        schedule = schedule_of(kind, optimizer, epochs * len(loader))
        ema = EMAHandler(net, momentum=0.3)

        def score(output: Any) -> float:
            if scores is not None:
                return scores[self.validator.state.epoch - 1]
            return -float((output[0]["pred"] - output[0]["label"]).abs())

        plateau = schedules.ReduceLROnPlateau(optimizer, "max", 0.5, patience=0)
        stop = ResumableEarlyStop(patience, stopping_fn_from_metric(metric))
        self.validator = SupervisedEvaluator(
            device="cpu",
            val_data_loader=DataLoader(CASES[:2], batch_size=1),
            network=ema.ema_model,
            key_val_metric={metric: Average(score)},
            val_handlers=[
                LrScheduleHandler(plateau, print_lr=False, step_transform=lambda engine: engine.state.metrics[metric]),
                stop,
            ],
        )
        self.history = History(optimizer, self.validator)
        self.trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=loader,
            network=net,
            optimizer=optimizer,
            loss_function=torch.nn.MSELoss(),
            train_handlers=[
                FinalValidation(self.validator),
                self.history,
                LrScheduleHandler(schedule, print_lr=False, epoch_level=kind == "by epoch"),
                ValidationHandler(interval, self.validator),
            ],
        )
        if scaler:
            self.trainer.amp = True
            self.trainer.add_event_handler(Events.STARTED, self._scale)  # the trainer makes its own, of a GPU
        ema.attach(self.trainer)
        stop.set_trainer(self.trainer)
        if act is not None:
            self.trainer.add_event_handler(Events.ITERATION_COMPLETED, act)
        self.resume = ExactResume(
            folder,
            seed=1,
            validator=self.validator,
            weights=ema.ema_model,
            state={
                "network": net,
                "ema": ema.ema_model,
                "optimizer": optimizer,
                "lr_scheduler": schedule,
                "plateau": plateau,
                "early_stop": stop,
                "summary": self.history,
            },
            sampler=self.sampler,
            knobs={
                "_weights_": {"classes": {"left_atrium": 1}} if fixed is None else fixed,
                "_schedule_": {"epochs": epochs, "learning_rate": rate, "batch_size": batch},
                "_free_": {
                    "num_workers": workers,
                    "val_interval": interval,
                    "patience": patience,
                    "weight_decay": decay,
                },
            },
            by_epoch=kind == "by epoch",
            max_minutes=minutes,
        )

    def _scale(self, trainer: SupervisedTrainer) -> None:
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)

    def run(self) -> Toy:
        self.resume.run(self.trainer)
        return self


def killed(toy: Toy) -> bool:
    """Run a toy training; return whether it was killed before its end."""
    try:
        toy.run()
    except Killed:
        return True
    return False


class Killer:
    """Stands for ``os.replace``, without which nothing in a folder changes: kills behind one of its calls."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = count(1)
        self.replace = os.replace

    def __call__(self, source: Any, target: Any) -> None:
        self.replace(source, target)
        if next(self.calls) == self.at:
            raise Killed


def kill_at_step(step: int) -> Callable[[SupervisedTrainer], None]:
    """For ``act``: kills after a step, as counted from the beginning of the training."""

    def act(trainer: SupervisedTrainer) -> None:
        if trainer.state.iteration == step:
            raise Killed

    return act


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves: the checkpoint, but for the settings, and both files of weights."""
    content = {name: load_checkpoint(folder / name) for name in ("checkpoint.pt", "model.pt", "final.pt")}
    content["checkpoint.pt"].pop("settings")
    return content


def files(folder: Path) -> dict[str, bytes]:
    """Names and contents."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The history that a checkpoint holds."""
    rows: list[dict[str, Any]] = load_checkpoint(folder / "checkpoint.pt")["state"]["summary"]["rows"]
    return rows


def alike(one: Any, other: Any) -> bool:
    """Equal to the bit."""
    if isinstance(one, torch.Tensor):
        return (
            one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()
        )
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and one == other


def same(folder: Path, other: Path) -> bool:
    """Return whether two runs left the same results, and nothing else."""
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "model.pt").read_bytes() == (other / "model.pt").read_bytes()
    return alike(outcome(folder), outcome(other))
