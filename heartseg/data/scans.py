"""Load scans and save masks, each on its own grid."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from heartseg.data.acdc import is_truth
from heartseg.data.cases import find_cases
from heartseg.data.files import atomic
from heartseg.data.layout import nifti_stem
from heartseg.data.layout import scan as read_layout
from heartseg.data.nifti import check_grid, check_same_grid, check_spacing, check_voxels, count_labels, read_nifti
from heartseg.errors import InputError

logger = logging.getLogger("heartseg")


class LoadScand(MapTransform):
    """Load scans as checked MetaTensors ``[1, x, y, z]`` (float32); each file is read once.

    Args:
        keys: items to load, each a path, a nibabel image, or a MetaTensor ``[x, y, z]`` or ``[1, x, y, z]``.
        reference: key of the scan itself, preferably the first; all other keys are label maps on its grid.
        labels: values that a label map may hold besides 0; None for any whole number.

    Raises InputError for anything that cannot be used for inference or training.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference: str = "image",
        labels: Collection[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference = reference
        self.labels = None if labels is None else list(labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image, voxels, name = read_scan(d[key])
            check_spacing(image.affine, name)
            if key == self.reference:
                check_voxels(voxels, name)
            else:
                count_labels(voxels, self.labels, name)
                scan = d.get(self.reference)
                if isinstance(scan, MetaTensor):  # it may have been resampled: its original grid is in the meta
                    check_same_grid(_grid(scan), image, name)
            d[key] = to_tensor(image, voxels, name)
        return d


def read_scan(source: Any) -> tuple[Any, np.ndarray, str]:
    """Return a scan as a nibabel image, its voxels ``[x, y, z]`` and its name.

    Raises InputError if it is not a 3D volume.
    """
    image: Any
    if isinstance(source, str | os.PathLike):
        image, voxels = read_nifti(source)
        return image, voxels, str(source)
    if isinstance(source, MetaTensor):
        voxels = source.as_tensor().detach().cpu().float().numpy()  # NumPy lacks bfloat16
        voxels = voxels[0] if voxels.ndim == 4 and voxels.shape[0] == 1 else voxels
        image = nib.Nifti1Image(voxels.astype(np.float32), source.affine.cpu().numpy())
        name = str(source.meta.get("filename_or_obj") or "the image")
    elif isinstance(source, nib.spatialimages.SpatialImage):
        image, voxels, name = source, np.asanyarray(source.dataobj), source.get_filename() or "the image"
    else:
        raise InputError(f"{type(source).__name__}: is not a scan; give a path, a nibabel image or a MetaTensor")
    check_grid(image.shape, image.affine, name)
    return image, voxels, name


def to_tensor(image: Any, voxels: np.ndarray, name: str) -> MetaTensor:
    """Return voxels as a MetaTensor ``[1, x, y, z]``, with their file and original grid in its meta."""
    # Converts byte orders and integer types that torch lacks. A copy, since later transforms write in place.
    tensor = torch.from_numpy(np.array(voxels, dtype=np.float32, order="C"))[None]
    affine = torch.as_tensor(np.asarray(image.affine, dtype=np.float64))
    meta = {"filename_or_obj": name, "original_affine": affine.clone(), "spatial_shape": np.array(image.shape)}
    return MetaTensor(tensor, affine=affine, meta=meta)


class SaveMaskd(MapTransform):
    """Write masks as ``output_dir/<scan's name>.nii.gz`` (uint8) with the geometry of the scan's own header.

    Shape, affine, orientation codes and units are those of the segmented file, so that any viewer overlays the two.
    Writing is atomic. Raises InputError if the mask is on another grid.
    """

    def __init__(self, keys: KeysCollection, output_dir: str | os.PathLike[str], image_key: str = "image") -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            source = str(d[self.image_key].meta["filename_or_obj"])
            target = mask_target(source, self.output_dir)
            image, _ = read_nifti(source, data=False)
            with atomic(target) as temporary:
                nib.save(mask_image(d[key], image), temporary)
        return d


def mask_image(mask: torch.Tensor, like: Any) -> nib.Nifti1Image:
    """Return a mask ``[1, x, y, z]`` as a NIfTI image (uint8) with the affine, codes and units of ``like``."""
    array = np.asarray(torch.as_tensor(mask).detach().cpu()[0].numpy(), dtype=np.uint8)
    if array.shape != tuple(like.shape):
        raise InputError(f"{like.get_filename()}: its mask has the shape {array.shape}, not {tuple(like.shape)}")
    image = nib.Nifti1Image(array, like.affine)
    if isinstance(like, nib.Nifti1Image):
        header = like.header
        with suppress(ValueError):  # an unused qform may hold a quaternion that is not a rotation
            image.set_qform(header.get_qform(), int(header["qform_code"]))
        image.set_sform(like.affine, int(header["sform_code"]) or int(header["qform_code"]) or 1)
        image.header.set_xyzt_units(*header.get_xyzt_units())
    return image


def mask_path(scan: str | os.PathLike[str], output_dir: str | os.PathLike[str]) -> Path:
    """Return the path of a scan's mask: ``output_dir/<input name>.nii.gz``."""
    return Path(output_dir) / f"{nifti_stem(scan)}.nii.gz"


def mask_target(scan: str | os.PathLike[str], output_dir: str | os.PathLike[str]) -> Path:
    """Return `mask_path`. Raises InputError if the mask would replace the scan itself."""
    target = mask_path(scan, output_dir)
    if _is_same(target, scan):
        raise InputError(f"{scan}: its mask would replace the scan itself; use another output folder")
    return target


def list_scans(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    skip_done: str | os.PathLike[str] | None = None,
) -> list[dict[str, str]]:
    """Return the scans to segment, as ``{"image": path}``, from files and folders.

    A folder stands for its NIfTI files; a data set for its test images (``imagesTs``, or ``testing`` in ACDC's own
    layout), or for all images if it has none. With ``skip_done``, scans that have a mask in that folder are left out
    and counted in the log. Raises InputError for a missing input, an empty folder, or two inputs whose masks would
    have the same name.
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    scans: list[str] = []
    for entry in map(Path, inputs):
        if not entry.exists():
            raise InputError(f"{entry}: there is no such file or folder; check the path")
        if entry.is_dir():
            _, test = read_layout(entry)
            scans += [case["image"] for case in find_cases(entry, labelled=False if test.cases else None)]
        elif is_truth(entry):
            raise InputError(f"{entry}: is a label map by its name, not a scan; leave it out")
        else:
            scans.append(str(entry))
    targets: dict[Path, str] = {}
    for scan in scans:
        target = mask_path(scan, ".") if skip_done is None else mask_target(scan, skip_done)
        if target in targets and _is_same(targets[target], scan):
            continue
        if target in targets:
            raise InputError(f"{scan}: its mask would replace that of {targets[target]}; segment them into two folders")
        targets[target] = scan
    todo = [scan for target, scan in targets.items() if skip_done is None or not target.exists()]
    if len(todo) < len(targets):
        logger.warning(f"{len(targets) - len(todo)} of {len(targets)} scans have a mask already and are skipped")
    return [{"image": scan} for scan in todo]


def _is_same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether two paths are the same file; unlike os.path.samefile, also for missing files and broken links."""
    return os.path.realpath(one) == os.path.realpath(other)


def _grid(scan: MetaTensor) -> nib.Nifti1Image:
    """Return a placeholder image on the grid that a scan was loaded on."""
    affine = torch.as_tensor(scan.meta.get("original_affine", scan.affine)).cpu().numpy()
    shape = tuple(int(n) for n in scan.meta.get("spatial_shape", scan.shape[1:]))
    return nib.Nifti1Image(np.broadcast_to(np.uint8(0), shape), affine)
