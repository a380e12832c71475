"""Handler that validates the last weights of a run."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator, Trainer

from heartseg.training.stopping import stop_reason


class FinalValidation:
    """Validate at the end of training, unless the last epoch has just been validated. Attach it to the trainer.

    ``ValidationHandler`` validates at an interval of epochs. Without this handler the last weights would not be
    evaluated, or none saved at all, if a run has fewer epochs, ends between two validations, or hits a time limit.

    A stopped run is resumed later and validated then: after a signal nothing is validated, and at a time limit only
    if there was no validation yet, so that there are weights at all.

    List it before handlers that write at the end of a run.
    """

    def __init__(self, validator: Evaluator) -> None:
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.COMPLETED, self._validate)

    def _validate(self, engine: Trainer) -> None:
        stopped = stop_reason(engine) is not None
        validated = self.validator.state.best_metric_epoch != -1
        if stopped and (validated or engine.state.in_a_hurry):
            return
        if self.validator.state.epoch != engine.state.epoch and engine.state.iteration > 0:
            self.validator.run(engine.state.epoch)
