"""Early stopping that survives resuming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ignite.handlers import EarlyStopping
from monai.handlers import EarlyStopHandler


class ResumableEarlyStop(EarlyStopHandler):
    """A ``monai.handlers.EarlyStopHandler`` whose state can be saved; a resumed run uses its own patience."""

    def state_dict(self) -> dict[str, Any]:
        """Return the number of validations without a better score, and the best score."""
        best = self._counting.best_score
        # Some metrics are NumPy's numbers, which a checkpoint of plain values cannot hold.
        return {"counter": self._counting.counter, "best_score": None if best is None else float(best)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of an earlier run."""
        self._counting.counter, self._counting.best_score = state["counter"], state["best_score"]

    @property
    def _counting(self) -> EarlyStopping:
        return cast(EarlyStopping, self._handler)  # set by set_trainer
