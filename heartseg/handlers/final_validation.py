"""A run never ends on weights that nobody judged."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator, Trainer

from heartseg.training.stopping import stop_reason


class FinalValidation:
    """Attached to the trainer: validate when training ends, unless its last epoch has just been validated.

    ``ValidationHandler`` validates every so many epochs, so that a run of fewer epochs, one whose last epochs
    fall between, and one that a time limit ends would leave their last weights unjudged, or none at all.

    A run that is stopped goes on later and is judged then: after a signal nothing is validated, and when its time
    is over only where no validation was yet, so that there are weights at all.

    List it before handlers that write at the end of a run.
    """

    def __init__(self, validator: Evaluator) -> None:
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.COMPLETED, self._validate)

    def _validate(self, engine: Trainer) -> None:
        stopped = stop_reason(engine) is not None
        judged = self.validator.state.best_metric_epoch != -1
        if stopped and (judged or engine.state.in_a_hurry):
            return
        if self.validator.state.epoch != engine.state.epoch and engine.state.iteration > 0:
            self.validator.run(engine.state.epoch)
