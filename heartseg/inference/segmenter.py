"""From a scan to its mask, through the parts of a bundle's inference configuration."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import torch
from monai.data import MetaTensor

from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.config.config_errors import readable
from heartseg.config.values import check_device
from heartseg.data.scans import mask_image
from heartseg.errors import InputError
from heartseg.inference.ventricles import Ventricles
from heartseg.metrics.patients import check_ventricles


@dataclass
class Mask:
    """A mask ``[1, x, y, z]`` on its scan's grid, and what is known of it."""

    tensor: MetaTensor
    millilitres: dict[str, float]
    anatomy: str  # what the header's R, A and S were read as; "RAS" if it was believed
    seconds: float
    nominal: bool = False  # whether the header that the volumes come from is made up


class Segmenter:
    """A bundle's network and transforms, built once for any number of scans.

    Args:
        bundle: name of a bundle or path of its folder.
        overlays: configurations over ``inference.yaml``, by name.
        settings: ids and values that replace the configuration's.
        weights: state dict to use instead of the shipped one.

    A bundle of ventricles has `Ventricles` under the id ``patients``.

    Raises InputError for an unknown bundle, overlay or id, and for weights that do not fit.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        overlays: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        folder = find_bundle(bundle)
        paths: dict[str, Any] = {"bundle_root": str(folder)}
        if weights is not None:
            paths["weights"] = str(Path(weights).resolve())
        self.folder, self.files = folder, config_files(folder, "inference", overlays)
        config = compose(folder, self.files, settings or {}, paths)
        if missing := [name for name in ("classes", "saving") if name not in config]:
            raise InputError(f"{folder}: cannot write masks: inference.yaml has no {missing[0]}; use heartseg evaluate")
        with chdir(folder), readable(folder, self.files):
            get = config.get_parsed_content
            check_device(get("device"))
            self.device = torch.device(get("device"))  # --set gives its name
            self.classes: dict[str, int] = dict(get("classes"))
            self.weights: str = get("weights")
            self.network = get("network").eval()
            self.preprocessing, self.inferer = get("preprocessing"), get("inferer")
            self.postprocessing, self.saving = get("postprocessing"), get("saving")
            self.amp = bool(get("amp")) and self.device.type == "cuda"
            self.patients: Ventricles | None = get("patients", default=None)
            self.ventricles = None if self.patients is None else check_ventricles(self.patients.classes, self.classes)

    @torch.inference_mode()
    def __call__(self, scan: Any, save: bool = False) -> Mask:
        """Segment one scan: a path, a nibabel image or a MetaTensor ``[x, y, z]`` or ``[1, x, y, z]``.

        With ``save`` the mask is also written to the configuration's ``output_dir``, under the scan's name.
        Raises InputError, one line that names the scan, for input that cannot be segmented.
        """
        start = time.perf_counter()
        with readable():
            data = self.preprocessing({"image": scan})
            image = data["image"]
            with torch.autocast(self.device.type, enabled=self.amp):
                data["pred"] = self.inferer(image[None].to(self.device), self.network)[0].float().cpu()
            data["pred"] = MetaTensor(data["pred"], meta=image.meta)
            data = self.postprocessing(data)
            if save:
                data = self.saving(data)
        mask = data["pred"]
        voxel = float(torch.linalg.det(mask.affine[:3, :3]).abs()) / 1000
        labels = mask.as_tensor()
        volumes = {name: float((labels == value).sum()) * voxel for name, value in self.classes.items()}
        nominal = self.patients is not None and self.patients.is_nominal(mask.affine, image.meta.get("filename_or_obj"))
        return Mask(mask, volumes, str(image.meta.get("anatomy", "RAS")), time.perf_counter() - start, nominal)


def segment(
    image: Any,
    bundle: str | os.PathLike[str],
    overlays: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> Any:
    """Segment one scan: a mask of the same kind as the input, on the input's grid.

    Args:
        image: a path (``.nii``, ``.nii.gz``), a nibabel image, or a MetaTensor ``[x, y, z]`` or ``[1, x, y, z]``.
        bundle, overlays, settings, weights: as for `Segmenter`, which is faster for many scans.

    Returns:
        For a path or a nibabel image a ``nibabel.Nifti1Image`` (uint8) with the affine, codes and units of
        the input; for a MetaTensor a MetaTensor (uint8) of its shape and affine.

    Raises:
        InputError: one line that says what cannot be used and how to fix it.
    """
    mask = Segmenter(bundle, overlays, settings, weights)(image)
    if isinstance(image, MetaTensor):
        tensor = mask.tensor.as_tensor().to(torch.uint8).reshape(image.shape).to(image.device)
        return MetaTensor(tensor, affine=image.affine.clone())
    like = image if isinstance(image, nib.spatialimages.SpatialImage) else nib.load(Path(image))
    return mask_image(mask.tensor, like)
