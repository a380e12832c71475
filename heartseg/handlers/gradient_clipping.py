"""Handler that clips gradients, also with mixed precision and accumulation."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch.nn.utils import clip_grad_norm_

from heartseg.errors import InputError
from heartseg.numbers import is_number


class GradientClipping:
    """Limit the norm of the gradient of all weights just before each step. Attach it to the trainer.

    At MONAI's events after ``backward``, gradients are still scaled by mixed precision, and incomplete if they are
    accumulated. The optimizer's own hook sees the gradient of each step: unscaled, complete, once.

    Args:
        max_norm: largest Euclidean norm of the gradient (Pascanu et al., 2013, arXiv:1211.5063).

    ``norm`` is the norm before clipping, in the last step. Raises InputError for a norm that is not positive.
    """

    def __init__(self, max_norm: float) -> None:
        if not is_number(max_norm) or not max_norm > 0:
            raise InputError(f"clipping: {max_norm!r} is not a norm; give a positive number (.inf clips nothing)")
        self.max_norm = float(max_norm)
        self.norm: torch.Tensor | None = None
        self._hook: Any = None

    def attach(self, engine: Engine) -> None:
        """Register with a trainer. The hook is removed when the run ends, or when the next one starts."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.COMPLETED, self._ended)

    def _started(self, engine: SupervisedTrainer) -> None:
        self._ended(engine)
        self._hook = engine.optimizer.register_step_pre_hook(self._clip)

    def _clip(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.norm = clip_grad_norm_(weights, self.max_norm)

    def _ended(self, engine: Engine) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
