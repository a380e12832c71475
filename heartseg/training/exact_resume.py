"""Exact resume: a run that was stopped anywhere ends with the weights of one that was not."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator, Trainer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from heartseg import distributed
from heartseg.data.files import plain, sha256
from heartseg.errors import InputError, LostWorkerError, OtherRunError, input_error
from heartseg.training.checkpoints import DamagedError, load_checkpoint, save_checkpoint
from heartseg.training.run_folder import keep_config, leave_run
from heartseg.training.seeding import EpochSampler, derived_seed, seed_everything
from heartseg.training.setting_changes import FIXED, FREE, SCHEDULE, changed, described, redefined, say_changes, walk
from heartseg.training.stopping import Stop, stop_reason

logger = logging.getLogger("heartseg")
FORMAT = 1  # of the checkpoint
COUNTED = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")  # what a plateau rule has seen, not what it is
CHECKPOINT, BEFORE, BEST, PENDING, FINAL = "checkpoint.pt", "checkpoint.previous.pt", "model.pt", ".best.pt", "final.pt"


class ExactResume:
    """Runs a trainer so that it can be killed at any moment and goes on exactly, by the same command.

    After every epoch ``checkpoint.pt`` holds the state of all that learns or counts, the epoch, the best metric,
    and the settings; it is written whole or not at all, with a checksum, and the one before stays as
    ``checkpoint.previous.pt``. What is random is not saved: order and augmentation follow from (seed, epoch, index)
    (`EpochSampler`, `SeededCacheDataset`), and a step's own randomness, such as dropout, from (seed, iteration). So on
    a CPU a resumed run has, to the bit, the weights of one that was never stopped. An epoch that was not finished is
    repeated.

    ``model.pt`` holds the best weights, ``final.pt`` the last ones. Weights of a new best validation wait until the
    checkpoint that knows of them is on the disk, so that ``model.pt`` never is of a future that was lost.

    A run that is finished says so and does nothing. More epochs go on, as do changed settings, which are reported;
    only those under ``fixed`` have to be the same.

    Of several processes that train together (`heartseg.distributed`) all take up the checkpoint, and the first writes.

    Args:
        output_dir: folder of the run.
        seed: of the run.
        validator: the evaluator whose key metric decides which weights are the best, the higher the better.
        weights: the network whose weights are kept: the averaged one, where there is one.
        state: objects with ``state_dict`` and ``load_state_dict`` by name, with ``network`` and ``optimizer`` among
            them, and the early stopping under ``early_stop``.
        sampler: says the order of an epoch.
        knobs: settings by heading, as `heartseg.config.knobs` returns them: those under `FIXED` cannot change, from
            those under `SCHEDULE` the learning rate's course follows, which is computed anew where one changes.
        cases: cases that train and that validate, each with its ``id``; they cannot change either.
        by_epoch: whether the schedule takes a step after each epoch; else after each of the optimizer's.
        max_minutes: stop, save and end after so many minutes; None: no limit.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        seed: int,
        validator: Evaluator,
        weights: torch.nn.Module,
        state: Mapping[str, Any],
        sampler: EpochSampler,
        knobs: Mapping[str, Mapping[str, Any]] | None = None,
        cases: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        by_epoch: bool = False,
        max_minutes: float | None = None,
    ) -> None:
        self.folder = Path(output_dir).absolute()
        self.seed = seed
        self.validator = validator
        self.weights = weights
        self.state = dict(state)
        self.sampler = sampler
        self.settings = self._settings(knobs or {}, cases or {})
        self.by_epoch = by_epoch
        self.stop = Stop(max_minutes)
        self.best: dict[str, Any] | None = None
        self._saved = 0
        self._finished = False
        self._scaler: dict[str, Any] | None = None

    def _settings(self, knobs: Mapping[str, Mapping[str, Any]], cases: Mapping[str, Any]) -> dict[str, Any]:
        fixed = {name: value for heading in FIXED for name, value in knobs.get(heading, {}).items()}
        fixed |= {f"{part} cases": [case["id"] for case in own] for part, own in cases.items()}
        fixed["network"] = str(self.state["network"])
        schedule = {**knobs.get(SCHEDULE, {}), "processes": distributed.size()}
        return dict(plain({"fixed": fixed, "schedule": schedule, "free": knobs.get(FREE, {})}))

    def run(self, trainer: Trainer) -> None:
        """Go on where the folder's checkpoint ends, or begin; return when the training is done or its time is over.

        Raises InputError for a checkpoint that is damaged, or of settings that cannot change, and where the folder
        cannot be written; SystemExit with 128 + the signal's number after a signal.
        """
        if isinstance(loss := getattr(trainer, "loss_function", None), torch.nn.Module):
            self.settings["free"]["loss"] = described(loss)
        try:
            if not self._restored(trainer):
                self._attach(trainer)
                with self.stop.listen():
                    trainer.run()
        except RuntimeError as error:
            # A signal to a whole group of processes, as `timeout` sends it, ends the workers before the step.
            if self.stop.signal is None or not isinstance(input_error(error), LostWorkerError):
                raise
        finally:
            keep_config(self.folder, wanted=False)
            leave_run(self.folder)
        if self.stop.reason is not None and self._finished:
            self._say(f"{self.stop.reason} as it ended; it is finished")
        elif self.stop.reason is not None:
            saved = f"epoch {self._saved} of {trainer.state.max_epochs}" if self._saved else "no epoch"
            self._say(f"{self.stop.reason}; {saved} is saved; the same command goes on, into this folder")
        if self.stop.signal is not None:
            raise SystemExit(128 + self.stop.signal)

    def _say(self, text: str) -> None:
        if distributed.is_first():
            print(f"{self.folder}: {text}", flush=True)

    def _attach(self, trainer: Trainer) -> None:
        self._saved = trainer.state.epoch
        keep_config(self.folder, wanted=True)
        if distributed.is_first():
            (self.folder / PENDING).unlink(missing_ok=True)  # of a future that was lost
        trainer.add_event_handler(Events.STARTED, self._started)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._iteration_started)
        self.validator.add_event_handler(Events.COMPLETED, self._validated, trainer)
        # Behind all others, so that what they change in this epoch is in its checkpoint.
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        trainer.add_event_handler(Events.COMPLETED, self._completed)
        self.stop.attach(trainer)

    def _restored(self, trainer: Trainer) -> bool:
        """`_restore` in each process; the first is done with the files before the others look at them."""
        if not distributed.is_first():
            distributed.wait()
            return self._restore(trainer)
        done = self._restore(trainer)
        distributed.wait()
        return done

    def _restore(self, trainer: Trainer) -> bool:
        """Take up the newest whole checkpoint there is, if any; whether nothing is left to do."""
        useless: list[InputError] = []
        for path in (self.folder / CHECKPOINT, self.folder / BEFORE):
            if not path.exists():
                continue
            try:
                saved = load_checkpoint(path)
            except DamagedError as error:
                useless.append(error)
                logger.warning(f"{error}")
                continue
            if saved.get("format") != FORMAT:
                raise OtherRunError(f"{path}: is of another version of heartseg; name another output folder")
            differences = changed(saved["settings"], self.settings, path)
            differences += redefined(saved["state"], self.state, path)
            if (over := self._over(trainer, saved)) is not None:
                if not saved["finished"]:  # it was stopped behind its last epoch, which is done again
                    asked = f"{path}: is of epoch {saved['epoch']}, and no more is asked for now"
                    useless.append(OtherRunError(f"{asked}; ask for more, or name another output folder"))
                    continue
                self._say(f"is finished, after epoch {saved['epoch']}{over}; nothing to do")
                if not (self.folder / BEST).exists():
                    logger.warning(f"{self.folder / BEST}: is gone; the last weights are in {FINAL}")
                return True
            self._take(trainer, saved, path, any(group == "schedule" for group, *_ in differences), bool(differences))
            self._say(f"goes on after epoch {saved['epoch']} of {trainer.state.max_epochs}")
            if distributed.is_first():
                os.replace(path, self.folder / CHECKPOINT)  # else the next save would keep what cannot be used
                say_changes(differences)
            return False
        if useless:
            raise useless[0]
        return False

    def _over(self, trainer: Trainer, saved: Mapping[str, Any]) -> str | None:
        """Why nothing is left to do, beside the epochs; None where something is."""
        stopper = self.state.get("early_stop")
        if saved["epoch"] >= trainer.state.max_epochs:
            return ""
        if stopper is None or (waited := saved["state"]["early_stop"]["counter"]) < stopper.patience:
            return None
        return f" of {trainer.state.max_epochs}: {waited} validations without a better one (more patience goes on)"

    def _take(self, trainer: Trainer, saved: Mapping[str, Any], path: Path, rescheduled: bool, differs: bool) -> None:
        """All that a checkpoint holds; a new schedule is walked to where the old one was."""
        for name in sorted(self.state, key="optimizer".__eq__):  # it is last: the schedules write into it
            target, state = self.state[name], saved["state"].get(name)
            try:
                if name == "optimizer":
                    self._take_optimizer(state, rescheduled, differs)
                elif isinstance(target, ReduceLROnPlateau):
                    now = target.state_dict()
                    target.load_state_dict({**now, **{key: state[key] for key in COUNTED}})
                elif isinstance(target, LRScheduler) and rescheduled:
                    scale = 1.0 if self.by_epoch else trainer.state.epoch_length / saved["epoch_length"]
                    walk(target, state, scale)
                else:
                    target.load_state_dict(state)
            except (RuntimeError, KeyError, ValueError, TypeError) as error:
                told = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
                raise OtherRunError(
                    f"{path}: a run cannot go on with another {name}: {told[min(1, len(told) - 1)]}; "
                    "set it back, or name another output folder"
                ) from None
        trainer.state.epoch = saved["epoch"]
        trainer.state.iteration = saved["epoch"] * trainer.state.epoch_length
        self._scaler = saved["scaler"]
        self._take_best(saved["best"])

    def _take_optimizer(self, old: Mapping[str, Any], rescheduled: bool, differs: bool) -> None:
        optimizer, groups = self.state["optimizer"], old["param_groups"]
        if differs:
            # What is asked for now counts, but for the learning rate of a schedule that goes on.
            kept = () if rescheduled else ("lr",)
            groups = [
                {**now, **{key: group[key] for key in kept}}
                for now, group in zip(optimizer.state_dict()["param_groups"], groups, strict=True)
            ]
        optimizer.load_state_dict({"state": old["state"], "param_groups": groups})

    def _take_best(self, best: dict[str, Any] | None) -> None:
        """The best weights so far, and their file, as the checkpoint knows them."""
        self.best = best
        if best is None:
            return
        self.validator.state.best_metric, self.validator.state.best_metric_epoch = best["metric"], best["epoch"]
        if not distributed.is_first():
            return
        pending, model = self.folder / PENDING, self.folder / BEST
        if pending.exists() and sha256(pending) == best["sha256"]:
            os.replace(pending, model)  # it was killed between the checkpoint and this
        if not model.exists() or sha256(model) != best["sha256"]:
            logger.warning(f"{model}: is not what epoch {best['epoch']} left there; a better one will replace it")

    def _started(self, trainer: Trainer) -> None:
        if trainer.scaler is not None and self._scaler:  # empty: of a scaler that did nothing
            trainer.scaler.load_state_dict(self._scaler)

    def _epoch_started(self, trainer: Trainer) -> None:
        self.sampler.epoch = trainer.state.epoch  # the loader asks for its order after this

    def _iteration_started(self, trainer: Trainer) -> None:
        # Other dropout in each process, and the same as ever in the first.
        of_process = [distributed.rank()] if distributed.rank() else []
        seed_everything(derived_seed(self.seed, trainer.state.iteration, *of_process))

    def _validated(self, validator: Evaluator, trainer: Trainer) -> None:
        metric = float(validator.state.metrics[validator.state.key_metric_name])
        if self.best is None or metric > self.best["metric"] or math.isnan(self.best["metric"]):
            first = distributed.is_first()
            checksum = save_checkpoint(self.weights.state_dict(), self.folder / PENDING) if first else None
            self.best = {"metric": metric, "epoch": trainer.state.epoch, "sha256": checksum}
        if trainer.last_event_name == Events.COMPLETED:
            # The last validation. Where time is over, within an epoch or before one was to be validated, the run
            # that goes on must not know of it.
            if stop_reason(trainer) is None:
                self.save(trainer, keep=None)
            self._publish()

    def _epoch_completed(self, trainer: Trainer) -> None:
        self.save(trainer)
        self._publish()

    def _completed(self, trainer: Trainer) -> None:
        # A signal behind the last epoch is no reason in the trainer's state: the run is ended as any.
        if stop_reason(trainer) is None:
            if distributed.is_first():
                save_checkpoint(self.weights.state_dict(), self.folder / FINAL)
            self._finished = True
            self.save(trainer, keep=None)

    def save(self, trainer: Trainer, keep: str | None = BEFORE) -> None:
        """Write the checkpoint of a trainer that has just ended an epoch, and of one that is done.

        The one that is kept is of an earlier epoch, which can be done again.
        """
        self._saved = trainer.state.epoch
        if not distributed.is_first():
            return
        content = {
            "format": FORMAT,
            "finished": self._finished,
            "epoch": trainer.state.epoch,
            "epoch_length": trainer.state.epoch_length,
            "state": {name: item.state_dict() for name, item in self.state.items()},
            "scaler": trainer.scaler.state_dict() if trainer.scaler is not None else self._scaler,
            "best": self.best,
            "settings": self.settings,
        }
        save_checkpoint(content, self.folder / CHECKPOINT, keep=keep)

    def _publish(self) -> None:
        if distributed.is_first() and (self.folder / PENDING).exists():
            os.replace(self.folder / PENDING, self.folder / BEST)
