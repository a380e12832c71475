"""Handler that adds pictures of a case, with its masks over the image, to TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import TensorBoardHandler
from torch.utils.tensorboard import SummaryWriter

from heartseg.handlers.evaluation import label_map
from heartseg.report.stack_figure import draw_case


class TensorBoardOverlay(TensorBoardHandler):
    """Draw the first case with truth and prediction after each validation. Attach it to the evaluator.

    MONAI's ``TensorBoardImageHandler`` writes whole volumes as separate animations, several MB each for image, label
    and prediction at every validation. This is one picture of some hundred kB in which the errors are visible.

    The case is the first that the loader yields, so the loader must not shuffle. Image, label and prediction are
    taken after postprocessing, ``[C, X, Y, Z]`` each; label and prediction have either one channel of label values
    or one channel per class. Spacing and orientation come from the image's metadata, or are 1 mm and RAS without it.
    The picture shows three planes, or slices of a stack of thick slices.

    Args:
        summary_writer: the writer that the run's TensorBoard handlers share.
        log_dir: folder for its own writer, if none is given.
        tag: name of the picture in TensorBoard.
        interval: draw at the first validation, then at every ``interval``-th.
        classes: name and label value of each foreground class, for the legend.
    """

    def __init__(
        self,
        summary_writer: SummaryWriter | None = None,
        log_dir: str = "./runs",
        tag: str = "validation",
        interval: int = 1,
        classes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(summary_writer=summary_writer, log_dir=log_dir)
        self.tag = tag
        self.interval = interval
        self.classes = classes
        self._validations = 0

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator, whose epoch is the trainer's and becomes the picture's step."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=_first), self._draw)

    def _draw(self, engine: SupervisedEvaluator) -> None:
        self._validations += 1
        if (self._validations - 1) % self.interval or engine.state.rank != 0:
            return
        case = {**_first_case(engine.state.batch), **_first_case(engine.state.output)}
        image = case["image"]
        affine = image.affine.numpy(force=True) if isinstance(image, MetaTensor) else np.eye(4)
        names = {"label": "truth", "pred": "prediction"}
        masks = {name: label_map(case[key]).numpy() for key, name in names.items() if key in case}
        figure = draw_case(
            torch.as_tensor(image)[0].numpy(force=True),
            masks,
            spacing=nib.affines.voxel_sizes(affine),
            axcodes="".join(nib.aff2axcodes(affine)),
            title=f"epoch {engine.state.epoch}",
            classes=self.classes,
        )
        figure.set_dpi(80)
        self._writer.add_figure(self.tag, figure, global_step=engine.state.epoch, close=False)
        self._writer.flush()


def _first(engine: SupervisedEvaluator, iteration: int) -> bool:
    # MONAI's evaluators count iterations from 1 in each run
    return iteration == 1


def _first_case(data: Any) -> dict[str, Any]:
    """Return the first case of a batch, decollated (a list of dictionaries) or not."""
    if isinstance(data, list):
        return dict(data[0])
    return {key: value[0] for key, value in data.items() if torch.is_tensor(value) and value.ndim > 0}
