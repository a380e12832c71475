"""Handler that draws the cases of an evaluation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from ignite.engine import Engine, Events

from heartseg.data.anatomy import anatomical_affine
from heartseg.data.files import atomic
from heartseg.data.nifti import read_nifti
from heartseg.errors import InputError
from heartseg.handlers.evaluation import decollated
from heartseg.metrics.case_metrics import case_metrics
from heartseg.report.figures import save
from heartseg.report.stack_figure import draw_case

KEYS = {"truth": "label", "mask": "pred"}  # keys of the output by the name of the mask


class CasePictures:
    """Draw the first cases of an evaluation, ``output_dir/<id>.png``: image, truth and mask.

    Three planes are shown, or slices if the scan is a stack of thick slices. The scan is read from its file again, so
    that the picture shows its own grid, in anatomical orientation. The pictures are written when the evaluation is
    complete, so that a failed one leaves no pictures without results.

    Args:
        output_dir: folder for the pictures.
        cases: number of cases to draw.
        classes: name and label value of each foreground class, for the legend and for the Dice in the title; None
            leaves both out.
        slices: number of slices to show of a stack.

    Raises InputError for fewer than one slice.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        cases: int = 4,
        classes: Mapping[str, int] | None = None,
        slices: int = 6,
    ) -> None:
        if slices < 1:
            raise InputError(f"slices: {slices} shows nothing; give 1 or more, or cases 0 for no pictures")
        self.output_dir = Path(output_dir)
        self.cases = cases
        self.classes = classes
        self.slices = slices
        self.drawn = 0
        self._folder: TemporaryDirectory[str] | None = None  # deleted with the handler, however the evaluation ends

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output carries ``image``, ``pred``, ``label`` and ``id``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._draw)
        engine.add_event_handler(Events.COMPLETED, self._publish)

    def _start(self, engine: Engine) -> None:
        self.drawn = 0
        self._folder = TemporaryDirectory(prefix="heartseg-pictures-")

    def _draw(self, engine: Engine) -> None:
        for entry, item in decollated(engine):
            if self.drawn >= self.cases:
                return
            self.drawn += 1
            meta = item["image"].meta
            scan, voxels = read_nifti(str(meta["filename_or_obj"]))
            affine = anatomical_affine(np.asarray(scan.affine), meta)
            spacing = nib.affines.voxel_sizes(affine)
            masks = {name: item[key][0].numpy(force=True).round() for name, key in KEYS.items()}
            figure = draw_case(
                voxels,
                masks,
                spacing=spacing,
                axcodes="".join(nib.aff2axcodes(affine)),
                title="\n".join([str(entry["id"]), *self._dice(masks, spacing)]),
                classes=self.classes,
                slices=self.slices,
            )
            assert self._folder is not None  # set at the start of the run
            save(figure, Path(self._folder.name) / f"{entry['id']}.png")

    def _publish(self, engine: Engine) -> None:
        if self._folder is None:
            return
        for picture in sorted(Path(self._folder.name).iterdir()):
            with atomic(self.output_dir / picture.name) as temporary:
                shutil.copyfile(picture, temporary)
        self._folder.cleanup()
        self._folder = None

    def _dice(self, masks: Mapping[str, np.ndarray], spacing: Sequence[float]) -> list[str]:
        """Return a line with the Dice of each class, if the classes are known."""
        if not self.classes:
            return []
        rows = case_metrics(masks["mask"], masks["truth"], spacing, self.classes)["classes"]
        return ["Dice: " + ", ".join(f"{name.replace('_', ' ')} {row['dice']:.3f}" for name, row in rows.items())]
