"""Early stopping that a resumed run goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ignite.handlers import EarlyStopping
from monai.handlers import EarlyStopHandler


class ResumableEarlyStop(EarlyStopHandler):
    """``monai.handlers.EarlyStopHandler`` whose count can be saved; the patience is that of the run that goes on."""

    def state_dict(self) -> dict[str, Any]:
        """The count of validations without a better score, and the best score."""
        return {"counter": self._counting.counter, "best_score": self._counting.best_score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the count of an earlier run."""
        self._counting.counter, self._counting.best_score = state["counter"], state["best_score"]

    @property
    def _counting(self) -> EarlyStopping:
        return cast(EarlyStopping, self._handler)  # there since set_trainer
