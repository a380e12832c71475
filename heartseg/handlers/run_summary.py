"""Handler that records a training run: its history and a summary, as JSON and Markdown."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer, Workflow
from monai.handlers import from_engine
from monai.utils import get_seed

from heartseg import distributed
from heartseg.data.files import atomic, plain, provenance, write_json
from heartseg.errors import first_line
from heartseg.machine import device_name, machine_line, peak_memory, precision
from heartseg.metrics.table import TABLE, Metric, key_metric
from heartseg.report.figures import save
from heartseg.report.training_curves import best_epoch, draw_curves
from heartseg.results.run_markdown import summary_markdown
from heartseg.training.stopping import stop_reason

logger = logging.getLogger(__name__)


class RunSummary:
    """Keep the history of a run and write it after every epoch, atomically. Attach it to the trainer.

    ``training_metrics.json``: a list with, for each epoch, ``epoch``, ``train_loss`` (mean over the iterations and
    processes), ``val_loss`` and the evaluator's key metric (``val_dice`` for Dice; null where there was no validation),
    ``learning_rate`` (of the first parameter group when the epoch began) and ``minutes`` (of this epoch with its
    validation). Numbers that are not finite are null; ``run_summary.json`` lists their epochs.

    ``run_summary.json`` and ``run_summary.md``: status (``running``, ``finished``, ``stopped``, ``interrupted`` or
    ``failed``; that of a killed run stays ``running``), why it stopped, the best epoch, machine, memory, cases,
    settings, provenance. ``curves.png``: losses, key metric, learning rate.

    List it before handlers that raise on an exception (StatsHandler, CheckpointSaver), which hide the exception from
    the handlers after them. Put its ``state_dict`` into the checkpoint, so that a resumed run keeps its history.

    Args:
        output_dir: folder for the files.
        evaluator: the engine that validates; None for a run without validation. Its key metric, which must be in
            `heartseg.metrics.table`, determines the best epoch.
        optimizer: None for the trainer's own.
        network: None for the trainer's own.
        info: settings to record, such as seed and learning rate.
        loss_key: name of the evaluator's metric to record as ``val_loss``, if there is one.
        output_transform: takes the trainer's output and returns the iteration's loss.
        weights: file of the best weights in ``output_dir``; its hash goes into the summary when the run ends.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        evaluator: Workflow | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        network: torch.nn.Module | None = None,
        info: Mapping[str, Any] | None = None,
        loss_key: str = "val_loss",
        output_transform: Callable[[Any], Any] = from_engine("loss", first=True),  # noqa: B008
        weights: str = "model.pt",
    ) -> None:
        self.output_dir = Path(output_dir)
        self.evaluator = evaluator
        self.optimizer = optimizer
        self.network = network
        self.info = dict(info or {})
        self.loss_key = loss_key
        self.output_transform = output_transform
        self.weights = weights
        self.metric: Metric = TABLE["dice"] if evaluator is None else key_metric(str(evaluator.state.key_metric_name))
        self.history: list[dict[str, Any]] = []
        self._validation: dict[str, float | None] = {}
        self._losses: list[torch.Tensor] = []
        self._learning_rate = 0.0
        self._began = 0.0

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with the trainer, and with the evaluator for the end of each validation."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self._completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._exception_raised)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._validated, engine)

    def state_dict(self) -> dict[str, Any]:
        """Return the history, in plain values that load with ``weights_only=True``."""
        return {"history": [dict(row) for row in self.history]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the history of an earlier run."""
        self.history = [dict(row) for row in state["history"]]

    def _started(self, engine: SupervisedTrainer) -> None:
        if engine.state.rank == 0:
            logger.info(machine_line(engine.state.device, engine.amp, _workers(engine), _amp_dtype(engine)))

    def _epoch_started(self, engine: SupervisedTrainer) -> None:
        # after resuming from an older checkpoint, or in a new run of the same object, later rows are obsolete
        self.history = [row for row in self.history if row["epoch"] < engine.state.epoch]
        optimizer = engine.optimizer if self.optimizer is None else self.optimizer
        self._learning_rate = float(optimizer.param_groups[0]["lr"])
        self._validation, self._losses, self._began = {}, [], time.monotonic()

    def _iteration_completed(self, engine: SupervisedTrainer) -> None:
        loss = self.output_transform(engine.state.output)
        loss = loss[0] if isinstance(loss, (tuple, list)) else loss  # a tuple if the batch is not decollated
        # stays on the device: reading the value here would make the GPU wait at every step
        self._losses.append(torch.as_tensor(loss).detach().float().mean())

    def _validated(self, evaluator: Workflow, trainer: SupervisedTrainer) -> None:
        metrics = evaluator.state.metrics
        loss = metrics.get(self.loss_key)
        self._validation = {
            "val_loss": None if loss is None else float(loss),
            self._key: float(metrics[evaluator.state.key_metric_name]),
        }
        if self.history and (self.history[-1]["epoch"] == trainer.state.epoch or trainer.should_terminate):
            # the row exists already: this handler comes before the ValidationHandler in the trainer's list, or a
            # time limit has ended the run during the next epoch
            self.history[-1].update(self._validation, minutes=self._minutes())
            self._write(trainer, "running", None)

    def _epoch_completed(self, engine: SupervisedTrainer) -> None:
        row: dict[str, Any] = {
            "epoch": engine.state.epoch,
            "train_loss": distributed.mean(torch.stack(self._losses).mean().item()) if self._losses else None,
            "val_loss": self._validation.get("val_loss"),
            self._key: self._validation.get(self._key),
            "learning_rate": self._learning_rate,
            "minutes": self._minutes(),
        }
        self.history.append(row)
        if odd := _not_finite(row):
            logger.warning("epoch %d: not a finite number: %s", row["epoch"], ", ".join(odd))
        self._write(engine, "running", None)

    def _completed(self, engine: SupervisedTrainer) -> None:
        done, planned = self._done(), engine.state.max_epochs
        stopped = stop_reason(engine)
        early = engine.should_terminate and done < planned
        reason = f"stopped early after epoch {done} of {planned}" if early else "all epochs done"
        # a handler that stops the run says why: `engine.state.stop_reason = "time limit of 30 minutes"`
        self._write(engine, "stopped" if stopped else "finished", stopped or reason)

    @property
    def _key(self) -> str:
        return f"val_{self.metric.name}"

    def _done(self) -> int:
        """Return the last complete epoch: a time limit ends a run during the next one."""
        return self.history[-1]["epoch"] if self.history else 0

    def _minutes(self) -> float:
        return (time.monotonic() - self._began) / 60

    def _exception_raised(self, engine: SupervisedTrainer, error: BaseException) -> None:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        kind, line = type(error).__name__, first_line(error)
        reason = kind if line == kind else f"{kind}: {line}"
        try:
            self._write(engine, status, reason)
        except Exception as fault:  # a full disk must not hide why the run failed
            logger.error("the run summary could not be written: %s", fault)
        # ignite considers an exception handled once all handlers return, and the first one that raises keeps the
        # others from running: raise only in the last handler, so that a checkpoint can still be saved
        if engine._event_handlers[Events.EXCEPTION_RAISED][-1][0] == self._exception_raised:
            raise error

    def _write(self, engine: SupervisedTrainer, status: str, reason: str | None) -> None:
        if engine.state.rank != 0:
            return
        write_json(self.output_dir / "training_metrics.json", plain(self.history, finite=True))
        save(draw_curves(self.history, self.metric), self.output_dir / "curves.png")
        summary = self.summary(engine, status, reason)
        write_json(self.output_dir / "run_summary.json", summary)
        with atomic(self.output_dir / "run_summary.md") as temporary:
            temporary.write_text(summary_markdown(summary, "curves.png"), encoding="utf-8")

    def summary(self, engine: SupervisedTrainer, status: str, reason: str | None) -> dict[str, Any]:
        """Return the content of ``run_summary.json``; for ``status`` see the class."""
        best = best_epoch(self.history, self.metric)
        network = engine.network if self.network is None else self.network
        device = engine.state.device
        content = {
            "status": status,
            "stop_reason": reason,
            "best": None
            if best is None
            else {
                "metric": self.evaluator.state.key_metric_name if self.evaluator else None,
                "value": next(row[self._key] for row in self.history if row["epoch"] == best),
                "epoch": best,
            },
            "epochs": self._done(),
            "max_epochs": engine.state.max_epochs,
            "minutes": sum(row["minutes"] for row in self.history),
            "device": device_name(device),
            "precision": precision(device, engine.amp, _amp_dtype(engine)),
            "workers": _workers(engine),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "cases": {"train": _cases(engine), "val": _cases(self.evaluator)},
            "peak_memory_gib": peak_memory(device),
            "seed": self.info.get("seed", get_seed()),
            "not_finite": [row["epoch"] for row in self.history if _not_finite(row)],
            "settings": self.info,
            "provenance": provenance(None if status == "running" else self.output_dir / self.weights),
        }
        return dict(plain(content, finite=True))


def _not_finite(row: Mapping[str, Any]) -> list[str]:
    return [name for name, value in row.items() if value is not None and not math.isfinite(value)]


def _workers(engine: Workflow) -> int:
    return int(getattr(engine.data_loader, "num_workers", 0))


def _amp_dtype(engine: Workflow) -> torch.dtype:
    return engine.amp_kwargs.get("dtype", torch.float16)


def _cases(engine: Workflow | None) -> int | None:
    """Count the cases of an engine's loader; one that is listed for several patches counts once."""
    dataset = getattr(getattr(engine, "data_loader", None), "dataset", None)
    items = getattr(dataset, "data", None)  # the list of MONAI's datasets
    if isinstance(items, list):
        return len({id(item) for item in items})
    return len(dataset) if isinstance(dataset, Sized) else None
