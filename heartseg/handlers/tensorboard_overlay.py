"""Example predictions for TensorBoard: one picture of a case with its masks on the image."""

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

from heartseg.report.stack_figure import draw_case


class TensorBoardOverlay(TensorBoardHandler):
    """Attached to the evaluator: after each validation the first case with truth and prediction.

    MONAI's ``TensorBoardImageHandler`` writes each whole volume as an animation, several MB for each of
    image, label and prediction at every validation, and shows them apart. This is one picture of some
    hundred kB in which a person sees the errors.

    The case is the first that the loader gives, so the loader must not shuffle. Image, label and prediction
    are read after postprocessing: ``[C, X, Y, Z]`` each, label and prediction either one channel of label
    values or one channel for each class. Spacing and orientation come from the image's metadata; without it
    1 mm and RAS. The picture shows three planes, or the slices of a stack where these are thick.

    Args:
        summary_writer: the writer that the run's TensorBoard handlers share.
        log_dir: folder for a writer of its own, where none is given.
        tag: name of the picture in TensorBoard.
        interval: a picture at the first validation and then at every so many.
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
        """Register with an evaluator. Its epoch is that of the trainer and becomes the picture's step."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=_first), self._draw)

    def _draw(self, engine: SupervisedEvaluator) -> None:
        self._validations += 1
        if (self._validations - 1) % self.interval or engine.state.rank != 0:
            return
        case = {**_item(engine.state.batch), **_item(engine.state.output)}
        image = case["image"]
        affine = image.affine.numpy(force=True) if isinstance(image, MetaTensor) else np.eye(4)
        names = {"label": "truth", "pred": "prediction"}
        masks = {name: _label_map(case[key]) for key, name in names.items() if key in case}
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
    # MONAI's evaluators count the iterations of each run from 1
    return iteration == 1


def _item(data: Any) -> dict[str, Any]:
    """The first case of a decollated batch (a list of dictionaries) or of a batch that was left whole."""
    if isinstance(data, list):
        return dict(data[0])
    return {key: value[0] for key, value in data.items() if torch.is_tensor(value) and value.ndim > 0}


def _label_map(mask: torch.Tensor) -> np.ndarray:
    array = torch.as_tensor(mask).numpy(force=True)
    return array.argmax(axis=0) if array.shape[0] > 1 else np.rint(array[0]).astype(int)
