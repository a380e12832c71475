"""Anatomical axes of scans whose header may be wrong: declared, or recognised from the image."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, RandomizableTransform
from monai.transforms.spatial.array import Orientation
from scipy.spatial.transform import Rotation

from heartseg.data.dataset_checks import CaseCheck
from heartseg.data.scans import read_scan, to_tensor
from heartseg.errors import InputError
from heartseg.networks.pose import (
    POSES,
    SIZE,
    apply_pose,
    axcodes_pose,
    centre_cube,
    load_pose_network,
    pose_axcodes,
    pose_probabilities,
    unit_range,
)

logger = logging.getLogger("heartseg")

# Probability of another pose above which a header is overruled. Unseen scans like the training data had 0.95 or more.
CONTRADICTION = 0.8


class AnatomicalAxesd(MapTransform, InvertibleTransform):
    """Correct the affine of a scan whose header names the wrong axes; the inverse restores the header's affine.

    Later transforms (``Orientationd``) and the network then see the patient the right way up, while the mask is
    saved on the file's own grid.

    Args:
        keys: images; the first decides for all of them (a label is oriented as its image).
        anatomy: ``"header"`` trusts the header. Axis codes such as ``"ASR"`` declare, for a whole data set, what
            the header's R, A and S really are. ``"auto"`` recognises the pose of each scan: the header is overruled
            if another pose has a probability above 0.8, and trusted if another pose is less probable than that;
            both with a warning that names the file.
        weights: the pose network's weights, for ``"auto"``. If the file is missing, the header is trusted.

    Adds to the image's meta ``anatomy``, the axis codes used for the header's R, A and S (``"RAS"`` where it is
    trusted), and ``anatomy_probability`` (NaN where nothing was recognised). Raises InputError for an invalid
    ``anatomy``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        anatomy: str = "auto",
        weights: str | os.PathLike[str] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.anatomy = anatomy
        self.weights = Path(weights) if weights else None
        self.declared: int | None = None
        if anatomy not in ("auto", "header"):
            try:
                self.declared = axcodes_pose(str(anatomy))
            except ValueError as error:
                raise InputError(f"anatomy: {error}; use auto, header or axis codes") from None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        pose, probability = None, math.nan
        for key in self.key_iterator(d):
            image = d[key]
            if pose is None:
                pose, probability = self._pose(image)
            header = image.affine.clone()
            image.meta["anatomy"], image.meta["anatomy_probability"] = pose_axcodes(pose), probability
            if pose:
                image.affine = pose_matrix(pose) @ header
            self.push_transform(image, extra_info={"header_affine": header})
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            header = self.pop_transform(d[key])["extra_info"]["header_affine"]
            d[key].affine = header
        return d

    def _pose(self, image: MetaTensor) -> tuple[int, float]:
        if self.declared is not None:
            return self.declared, math.nan
        if self.anatomy == "header" or self.weights is None or not self.weights.is_file():
            return 0, math.nan
        pose, probability, warning = recognise_pose(image, self.weights)
        if warning:
            logger.warning(warning)
        return pose, probability


def recognise_pose(image: MetaTensor, weights: str | os.PathLike[str]) -> tuple[int, float, str | None]:
    """Compare the header of a scan ``[1, x, y, z]`` with its anatomy, as the pose network sees it.

    Returns the pose to use (0 is the header's), its probability, and a one-line warning if the anatomy contradicts
    the header or may do so.
    """
    canonical: Any = Orientation(axcodes="RAS", labels=None)(image)
    cube = centre_cube(canonical.as_tensor(), tuple(canonical.pixdim.tolist()))
    probabilities = pose_probabilities(load_pose_network(str(weights)), cube.cpu())
    best = int(probabilities.argmax())
    probability = float(probabilities[best])
    if best == 0:
        return 0, probability, None
    name = Path(str(image.meta.get("filename_or_obj", "scan"))).name
    finding = f"what it calls R, A, S seems to be {', '.join(pose_axcodes(best))} (probability {probability:.2f})"
    if probability < CONTRADICTION:
        warning = f"{name}: the header may contradict the anatomy: {finding}; the header is used, check the scan"
        return 0, float(probabilities[0]), warning
    return best, probability, f"{name}: the header contradicts the anatomy: {finding}; the scan is read that way"


def check_poses(cases: Iterable[CaseCheck], weights: str | os.PathLike[str]) -> Iterator[tuple[CaseCheck, str]]:
    """Yield the cases whose header contradicts the anatomy, or may do so, each with a warning.

    Raises InputError if the file of weights is missing.
    """
    if not Path(weights).is_file():
        raise InputError(f"{weights}: no such file; this bundle has no pose network, omit --bundle")
    for case in cases:
        _, _, warning = recognise_pose(to_tensor(*read_scan(case.image)), weights)
        if warning:
            yield case, warning


def pose_matrix(pose: int) -> torch.Tensor:
    """Return the 4x4 matrix from a header's world coordinates to anatomical ones, for a pose."""
    order, flips = POSES[pose]
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis, (target, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[target, axis] = -1 if flip else 1
    return torch.from_numpy(matrix)


def anatomical_affine(affine: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """Return a header's affine (4x4), corrected by the meta of an image that passed `AnatomicalAxesd`."""
    codes = str(meta.get("anatomy", "RAS"))
    return np.asarray(pose_matrix(axcodes_pose(codes)).numpy() @ affine)


class RandPosed(RandomizableTransform, MapTransform):
    """Random views of a chest that train the pose network: ``[1, 28, 28, 28]`` at 4.5 mm, intensities about 0..1.

    The image ``[1, x, y, z]``, RAS at 4.5 mm, is rotated, scaled and shifted about its centre, cropped to a random
    box (so that the shape of the field of view does not reveal the pose), changed in contrast, made noisy, and turned
    into one of the 48 poses, whose number is stored under ``pose_key``.
    """

    def __init__(self, keys: KeysCollection, pose_key: str = "pose", allow_missing_keys: bool = False) -> None:
        RandomizableTransform.__init__(self, 1.0)
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.pose_key = pose_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        pose = int(self.R.randint(len(POSES)))
        for key in self.key_iterator(d):
            d[key] = apply_pose(self._view(torch.as_tensor(d[key])), pose).contiguous()
        d[self.pose_key] = pose
        return d

    def _view(self, volume: torch.Tensor) -> torch.Tensor:
        rotation = Rotation.from_euler("xyz", self.R.uniform(-0.3, 0.3, 3)).as_matrix() * self.R.uniform(0.8, 1.25, 3)
        half = np.array(volume.shape[1:]) / 2
        matrix = np.zeros((3, 4))
        # affine_grid takes the last axis first, in units of half the volume.
        matrix[:, :3] = (rotation * (SIZE / 2) / half[:, None])[::-1, ::-1]
        matrix[:, 3] = (self.R.uniform(-5, 5, 3) / half)[::-1]
        grid = F.affine_grid(torch.from_numpy(matrix).float()[None], [1, 1, SIZE, SIZE, SIZE], align_corners=False)
        view = F.grid_sample(volume[None].float(), grid, align_corners=False)[0]
        size = np.where(self.R.rand(3) < 0.5, self.R.randint(18, SIZE + 1, 3), SIZE)
        box = [slice(a, a + n) for n in size for a in [int(self.R.randint(0, SIZE - n + 1))]]
        crop = unit_range(view[(slice(None), *box)])
        if self.R.rand() < 0.7:
            crop = crop ** self.R.uniform(0.5, 2)
        view = torch.zeros_like(view)
        view[(slice(None), *box)] = crop
        if self.R.rand() < 0.5:
            view += torch.from_numpy(self.R.normal(0, self.R.uniform(0, 0.1), view.shape)).float()
        return view
