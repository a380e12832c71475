"""Pictures of an evaluation's cases."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
from ignite.engine import Engine, Events

from heartseg.data.anatomy import anatomical_affine
from heartseg.data.nifti import read_nifti
from heartseg.handlers.cases import decollated
from heartseg.report.figures import overlay

NAMES = {"truth": "label", "mask": "pred"}


class CasePictures:
    """Draw the first cases of an evaluation: image, truth and mask in three planes, ``output_dir/<id>.png``.

    The scan is read again from its file, so the picture shows its own grid, turned as its anatomy lies.

    Args:
        output_dir: where the pictures go.
        cases: how many to draw.
    """

    def __init__(self, output_dir: str | os.PathLike[str], cases: int = 4) -> None:
        self.output_dir = Path(output_dir)
        self.cases = cases
        self.drawn = 0

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output carries ``image``, ``pred``, ``label`` and ``id``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        self.drawn = 0

    def _draw(self, engine: Engine) -> None:
        for entry, item in decollated(engine):
            if self.drawn >= self.cases:
                return
            self.drawn += 1
            meta = item["image"].meta
            scan, voxels = read_nifti(str(meta["filename_or_obj"]))
            affine = anatomical_affine(np.asarray(scan.affine), meta)
            masks = {name: item[key][0].numpy(force=True).round() for name, key in NAMES.items()}
            overlay(
                voxels,
                masks,
                self.output_dir / f"{entry['id']}.png",
                spacing=nib.affines.voxel_sizes(affine),
                axcodes="".join(nib.aff2axcodes(affine)),
                title=str(entry["id"]),
            )
