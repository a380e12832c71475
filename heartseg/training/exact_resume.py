"""Exact resume: a training that was stopped anywhere ends with the weights of one that was not."""

from __future__ import annotations

import logging
import math
import operator
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator, Trainer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from heartseg import distributed
from heartseg.data.files import sha256
from heartseg.errors import InputError, LostWorkerError, OtherRunError, input_error
from heartseg.metrics.table import key_metric
from heartseg.training.checkpoints import DamagedError, load_checkpoint, save_checkpoint
from heartseg.training.run_folder import keep_config, leave_run
from heartseg.training.seeding import EpochSampler, derived_seed, seed_everything
from heartseg.training.setting_changes import advance, changed, described, redefined, say_changes, settings_of
from heartseg.training.stopping import Stop, stop_reason

logger = logging.getLogger("heartseg")
FORMAT = 2  # of the checkpoint
COUNTED = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")  # a plateau rule's state, without its settings
CHECKPOINT, BEFORE, BEST, PENDING, FINAL = "checkpoint.pt", "checkpoint.previous.pt", "model.pt", ".best.pt", "final.pt"


class ExactResume:
    """Run a trainer so that it can be killed at any moment and resumes exactly, by the same command.

    After every epoch ``checkpoint.pt`` holds the state of everything that learns or counts, the epoch, the best metric
    and the settings; it is written atomically, with a checksum, and the one before stays as
    ``checkpoint.previous.pt``. Random state is not saved: order and augmentation follow from (seed, epoch, index)
    (`EpochSampler`, `SeededCacheDataset`), and a step's own randomness, such as dropout, from (seed, iteration). So on
    a CPU a resumed run has, to the bit, the weights of one that was never stopped. An epoch that was not finished is
    repeated.

    ``model.pt`` holds the best weights, ``final.pt`` the last ones. Weights of a new best validation wait until the
    checkpoint that knows of them is on the disk, so that ``model.pt`` never comes from an epoch that was lost.

    A finished run says so and does nothing. It resumes with more epochs, and with changed settings, which are reported;
    only those under ``FIXED`` headings (`heartseg.training.setting_changes`) must be the same. Of several processes
    (`heartseg.distributed`) all restore the checkpoint, and the first writes.

    Args:
        output_dir: folder of the run.
        seed: of the run.
        validator: the evaluator whose key metric decides which weights are the best. The table of metrics says whether
            lower is better; for a metric that it does not have, the evaluator's ``metric_cmp_fn`` decides.
        weights: the network whose weights are kept: the averaged one if there is one.
        state: objects with ``state_dict`` and ``load_state_dict`` by name, with ``network`` and ``optimizer`` among
            them, and the early stopping under ``early_stop``.
        sampler: defines the order of an epoch.
        knobs: settings by heading, as `heartseg.config.knobs` returns them. Those under ``FIXED`` headings cannot
            change; if one under ``SCHEDULE`` changes, the learning rate's course is computed anew.
        cases: training and validation cases, each with its ``id``; they cannot change either.
        by_epoch: whether the schedule steps once an epoch, not once for each step of the optimizer.
        max_minutes: stop, save and return after this many minutes; None: no limit.
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
        with suppress(InputError):
            lower = key_metric(validator.state.key_metric_name).lower_is_better
            validator.metric_cmp_fn = operator.lt if lower else operator.gt
        self.weights = weights
        self.state = dict(state)
        self.sampler = sampler
        self.settings = settings_of(knobs or {}, cases or {}, self.state["network"])
        self.by_epoch = by_epoch
        self.stop = Stop(max_minutes)
        self.best: dict[str, Any] | None = None
        self._saved = 0
        self._finished = False
        self._scaler: dict[str, Any] | None = None

    def run(self, trainer: Trainer) -> None:
        """Resume from the folder's checkpoint, or start; return when the training is finished or its time is over.

        Raises InputError for a damaged checkpoint, for settings that cannot change, and for a folder that cannot be
        written; SystemExit with 128 + the signal's number after a signal.
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
            self._say(f"{self.stop.reason} when it had finished")
        elif self.stop.reason is not None:
            saved = f"epoch {self._saved} of {trainer.state.max_epochs}" if self._saved else "no epoch"
            self._say(f"{self.stop.reason}; {saved} is saved; the same command resumes it, in this folder")
        if self.stop.signal is not None:
            raise SystemExit(128 + self.stop.signal)

    def _say(self, text: str) -> None:
        if distributed.is_first():
            print(f"{self.folder}: {text}", flush=True)

    def _attach(self, trainer: Trainer) -> None:
        self._saved = trainer.state.epoch
        keep_config(self.folder, wanted=True)
        if distributed.is_first():
            (self.folder / PENDING).unlink(missing_ok=True)  # from an epoch that was lost
        trainer.add_event_handler(Events.STARTED, self._started)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._iteration_started)
        self.validator.add_event_handler(Events.COMPLETED, self._validated, trainer)
        # After all others, so that what they change in this epoch is in its checkpoint.
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        trainer.add_event_handler(Events.COMPLETED, self._completed)
        self.stop.attach(trainer)

    def _restored(self, trainer: Trainer) -> bool:
        """Call `_restore` in each process; the first finishes with the files before the others read them."""
        if distributed.is_first():
            done = self._restore(trainer)
        distributed.wait()
        return done if distributed.is_first() else self._restore(trainer)

    def _restore(self, trainer: Trainer) -> bool:
        """Restore the newest sound checkpoint, if any; return whether nothing is left to do."""
        unusable: list[InputError] = []
        for path in (self.folder / CHECKPOINT, self.folder / BEFORE):
            if not path.exists():
                continue
            try:
                saved = load_checkpoint(path)
            except DamagedError as error:
                unusable.append(error)
                logger.warning(f"{error}")
                continue
            if saved.get("format") != FORMAT:
                raise OtherRunError(f"{path}: was written by another version of heartseg; use another output folder")
            differences = changed(saved["settings"], self.settings, path)
            differences += redefined(saved["state"], self.state, path)
            if (over := self._over(trainer, saved)) is not None:
                if not saved["finished"]:  # stopped after its last epoch, which is repeated
                    fault = f"{path}: is of epoch {saved['epoch']}, already the last one"
                    unusable.append(OtherRunError(f"{fault}; raise epochs, or use another output folder"))
                    continue
                self._say(f"is finished, after epoch {saved['epoch']}{over}; nothing to do")
                if not (self.folder / BEST).exists():
                    logger.warning(f"{self.folder / BEST}: is missing; the last weights are in {FINAL}")
                return True
            self._load(trainer, saved, path, any(group == "schedule" for group, *_ in differences), bool(differences))
            self._say(f"resumes after epoch {saved['epoch']} of {trainer.state.max_epochs}")
            if distributed.is_first():
                os.replace(path, self.folder / CHECKPOINT)  # the next save must not keep a damaged one
                say_changes(differences)
            return False
        if unusable:
            raise unusable[0]
        return False

    def _over(self, trainer: Trainer, saved: Mapping[str, Any]) -> str | None:
        """Return why nothing is left to do, for after the number of epochs; None if something is."""
        stopper = self.state.get("early_stop")
        if saved["epoch"] >= trainer.state.max_epochs:
            return ""
        if stopper is None or (waited := saved["state"]["early_stop"]["counter"]) < stopper.patience:
            return None
        return f" of {trainer.state.max_epochs}: {waited} validations without a better one (more patience continues)"

    def _load(self, trainer: Trainer, saved: Mapping[str, Any], path: Path, rescheduled: bool, differs: bool) -> None:
        """Load everything that a checkpoint holds; a new schedule is stepped to where the old one was."""
        for name in sorted(self.state, key="optimizer".__eq__):  # the optimizer is last: schedules write into it
            target, state = self.state[name], saved["state"].get(name)
            try:
                if name == "optimizer":
                    self._load_optimizer(state, rescheduled, differs)
                elif isinstance(target, ReduceLROnPlateau):
                    now = target.state_dict()
                    target.load_state_dict({**now, **{key: state[key] for key in COUNTED}})
                elif isinstance(target, LRScheduler) and rescheduled:
                    scale = 1.0 if self.by_epoch else trainer.state.epoch_length / saved["epoch_length"]
                    advance(target, state, scale)
                else:
                    target.load_state_dict(state)
            except (RuntimeError, KeyError, ValueError, TypeError) as error:
                lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
                fault = f"a run cannot resume with another {name}: {lines[min(1, len(lines) - 1)]}"
                raise OtherRunError(f"{path}: {fault}; set it back, or use another output folder") from None
        trainer.state.epoch = saved["epoch"]
        trainer.state.iteration = saved["epoch"] * trainer.state.epoch_length
        self._scaler = saved["scaler"]
        self._load_best(saved["best"])

    def _load_optimizer(self, old: Mapping[str, Any], rescheduled: bool, differs: bool) -> None:
        optimizer, groups = self.state["optimizer"], old["param_groups"]
        if differs:
            # The new settings count, except the learning rate of a schedule that continues.
            kept = () if rescheduled else ("lr",)
            groups = [
                {**now, **{key: group[key] for key in kept}}
                for now, group in zip(optimizer.state_dict()["param_groups"], groups, strict=True)
            ]
        optimizer.load_state_dict({"state": old["state"], "param_groups": groups})

    def _load_best(self, best: dict[str, Any] | None) -> None:
        """Restore the best metric so far, and the file of its weights, as the checkpoint knows them."""
        self.best = best
        if best is None:
            return
        self.validator.state.best_metric, self.validator.state.best_metric_epoch = best["metric"], best["epoch"]
        if not distributed.is_first():
            return
        pending, model = self.folder / PENDING, self.folder / BEST
        if pending.exists() and sha256(pending) == best["sha256"]:
            os.replace(pending, model)  # the run was killed between saving and publishing
        if not model.exists() or sha256(model) != best["sha256"]:
            logger.warning(f"{model}: is not the file that epoch {best['epoch']} wrote; better weights will replace it")

    def _started(self, trainer: Trainer) -> None:
        if trainer.scaler is not None and self._scaler:  # empty for a scaler that is disabled
            trainer.scaler.load_state_dict(self._scaler)

    def _epoch_started(self, trainer: Trainer) -> None:
        self.sampler.epoch = trainer.state.epoch  # the loader asks for its order after this

    def _iteration_started(self, trainer: Trainer) -> None:
        of_process = [distributed.rank()] if distributed.rank() else []  # the first: as in a run of one process
        seed_everything(derived_seed(self.seed, trainer.state.iteration, *of_process))

    def _validated(self, validator: Evaluator, trainer: Trainer) -> None:
        metric = float(validator.state.metrics[validator.state.key_metric_name])
        best = self.best["metric"] if self.best else math.nan
        if math.isnan(best) or validator.metric_cmp_fn(metric, best):
            first = distributed.is_first()
            checksum = save_checkpoint(self.weights.state_dict(), self.folder / PENDING) if first else None
            self.best = {"metric": metric, "epoch": trainer.state.epoch, "sha256": checksum}
        if trainer.last_event_name == Events.COMPLETED:
            # The last validation. If the time is over, within an epoch or before a validation was due, the resumed run
            # must not know of it.
            if stop_reason(trainer) is None:
                self.save(trainer, keep=None)
            self._publish()

    def _epoch_completed(self, trainer: Trainer) -> None:
        self.save(trainer)
        self._publish()

    def _completed(self, trainer: Trainer) -> None:
        if stop_reason(trainer) is None:  # which a signal after the last epoch does not change
            if distributed.is_first():
                save_checkpoint(self.weights.state_dict(), self.folder / FINAL)
            self._finished = True
            self.save(trainer, keep=None)

    def save(self, trainer: Trainer, keep: str | None = BEFORE) -> None:
        """Write the checkpoint at the end of an epoch or of the training; the previous one is kept under ``keep``."""
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
