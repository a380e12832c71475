"""ventricles under artifacts: through the command line, and what a lost slice does to those beside it."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluations import results
from monai.data import MetaTensor

from heartseg.artifacts import slice_dropout
from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.composition import compose

CLASSES = ["right_ventricle", "myocardium", "left_ventricle"]


def test_two_artifacts_at_one_severity(cines: Path, learned_cines: Path, heartseg: Any, tmp_path: Path) -> None:
    words = ["--data", cines, "--weights", learned_cines / "model.pt", "--split", "val", "--out", tmp_path]
    words += ["--artifact", "slice_dropout", "--artifact", "noise", "--severity", "severe"]
    words += ["--set", "spacing=[4, 4]", "--set", "input_size=[48, 48]"]
    status, said, err = heartseg("robustness", "ventricles", *words)
    assert status == 0, err[-2000:]
    found = results(tmp_path)
    assert list(found) == ["clean", "slice_dropout", "noise", "memory_gib", "provenance"]
    assert found["clean"]["averaged_over"]["cases"] == 2
    for name in ("slice_dropout", "noise"):
        part = found[name]
        assert list(part["severities"]) == ["severe"]
        severe = part["severities"]["severe"]
        assert list(severe["classes"]) == CLASSES and list(severe["phases"]) == ["ED", "ES"]
        assert [case["phase"] for case in severe["cases"]] == ["ED", "ES"]
        assert severe["drop_percent"] == pytest.approx(100 * (1 - severe["dice"] / found["clean"]["dice"]))
        assert severe["dice"] != found["clean"]["dice"]
        assert name in said
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")) == [
        f"pictures/{found['clean']['cases'][0]['id']}.png",
        "robustness.png",
    ]


def test_a_lost_slice_is_a_lost_channel_of_those_beside_it() -> None:
    """Through the bundle's own geometry, normalisation and inferer, with a network that keeps what it sees."""
    bundle = find_bundle("ventricles")
    config = compose(bundle, config_files(bundle, "inference"), {"spacing": [2, 2]}, {"bundle_root": str(bundle)})
    with chdir(bundle):
        parts = [config.get_parsed_content(name) for name in ("geometry", "normalisation", "inferer")]
    geometry, normalisation, inferer = parts
    seen: list[torch.Tensor] = []

    def network(slices: torch.Tensor) -> torch.Tensor:
        seen.append(slices)
        return torch.zeros(len(slices), 4, *slices.shape[2:])  # nothing found: every slice is seen whole, at last

    voxels = torch.rand(7, 48, 32, generator=torch.Generator().manual_seed(0)) + 1
    affine = torch.tensor([[0, 2, 0, 0], [0, 0, 2, 0], [10, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    image = geometry({"image": MetaTensor(voxels, affine=affine)})["image"]
    assert image.shape == (1, 48, 32, 7)  # the slices come last
    lost = normalisation({"image": slice_dropout(image, [3])})["image"]
    inferer(lost[None], network)
    slices = torch.cat(seen)[-7:]
    flat = [(number, channel) for number, item in enumerate(slices) for channel in range(3) if not item[channel].std()]
    assert flat == [(2, 2), (3, 1), (4, 0)]
    assert float(slices[3, 1].max()) == float(lost.min())
