"""Training samples of the left atrium: labels remain masks and remain aligned with the image."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest
import torch
from monai.utils import set_determinism

from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.phantoms.writing import write_phantoms


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    """Patches of a phantom whose image is its own label: image, label, and the label's voxels before."""
    data = write_phantoms(tmp_path_factory.mktemp("atria") / "data", cases=4, seed=3, size="small")
    bundle = find_bundle("left_atrium")
    settings = {"intensity": 0.0, "noise": 1e-9, "foreground_share": 1.0}
    paths = {"dataset_dir": str(data), "output_dir": str(Path(data) / "run")}
    config = compose(bundle, config_files(bundle, "train", ["demo"]), settings, paths)
    with chdir(bundle):
        set_determinism(0)
        case = config.get_parsed_content("cases::train")[0]
        fixed = config.get_parsed_content("train::deterministic_transforms")(case)
        transforms = config.get_parsed_content("train::random_transforms")
        fixed["image"] = type(fixed["image"])(fixed["label"].as_tensor().clone().float(), meta=fixed["image"].meta)
        found = []
        for _ in range(24):
            patch = transforms(dict(fixed))[0]
            found.append((patch["image"], patch["label"], int(fixed["label"].sum())))
        set_determinism(None)
    return found


def test_a_resampled_label_is_still_a_mask(patches: list[tuple[torch.Tensor, torch.Tensor, int]]) -> None:
    for _, label, _ in patches:
        assert set(label.unique().tolist()) <= {0.0, 1.0}


def test_a_resampled_label_keeps_its_size(patches: list[tuple[torch.Tensor, torch.Tensor, int]]) -> None:
    """Scaling changes a whole atrium by at most 1.15^3 and its inverse; on average it neither grows nor shrinks."""
    ratios = torch.tensor([float(label.sum()) / before for _, label, before in patches])
    whole = ratios[ratios > 0.6]  # a shift may push part of the atrium out of the patch
    assert len(whole) >= 12
    assert 0.85 < float(whole.median()) < 1.15


def test_image_and_label_move_together(patches: list[tuple[torch.Tensor, torch.Tensor, int]]) -> None:
    dice = []
    for image, label, _ in patches:
        seen, mask = image > 0.5, label > 0.5
        if mask.sum() > 500:
            dice.append(float(2 * (seen & mask).sum() / (seen.sum() + mask.sum())))
    assert len(dice) >= 12
    # Contrast and a simulated low resolution move the image's half-way surface a little in some patches.
    assert sorted(dice)[len(dice) // 2] > 0.99
    assert min(dice) > 0.7
