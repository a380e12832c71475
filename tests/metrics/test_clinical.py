"""Volumes, ejection fraction and mass by hand."""

import math

import numpy as np
import pytest
import torch
from masks import box

from heartseg.errors import InputError
from heartseg.metrics import (
    ejection_fraction,
    myocardial_mass_g,
    stroke_volume_ml,
    ventricle_function,
    volume_ml,
)
from heartseg.metrics.clinical import MYOCARDIAL_DENSITY


def test_volume_by_hand():
    """60 voxels of 1.25 x 1.25 x 8 mm, 12.5 mm³ each: 750 mm³."""
    mask = box((1, 1, 1), (4, 5, 6))
    assert volume_ml(mask, (1.25, 1.25, 8)) == 0.75
    assert volume_ml(mask.numpy(), np.array([1.25, 1.25, 8])) == 0.75
    assert volume_ml(mask & False, (1.25, 1.25, 8)) == 0
    assert volume_ml(torch.ones(10, 10, 10, dtype=torch.bool), (1, 1, 1)) == 1  # a cube of 1 cm


@pytest.mark.parametrize(("edv", "esv", "stroke", "fraction"), [(120, 48, 72, 60), (150, 150, 0, 0), (80, 0, 80, 100)])
def test_a_pair_of_frames_by_hand(edv, esv, stroke, fraction):
    assert stroke_volume_ml(edv, esv) == stroke
    assert ejection_fraction(edv, esv) == fraction


def test_from_masks_to_the_ejection_fraction():
    """A cavity of 6 x 6 x 5 voxels, then 4 x 3 x 5, of 1 x 1 x 10 mm: 1.8 mL and 0.6 mL."""
    spacing = (1, 1, 10)
    edv, esv = volume_ml(box((2, 2, 2), (8, 8, 7)), spacing), volume_ml(box((3, 3, 2), (7, 6, 7)), spacing)
    assert (edv, esv) == (1.8, 0.6)
    assert stroke_volume_ml(edv, esv) == pytest.approx(1.2, rel=1e-12)
    assert ejection_fraction(edv, esv) == pytest.approx(200 / 3, rel=1e-12)


def test_swapped_frames_give_a_negative_stroke_volume():
    assert (stroke_volume_ml(50, 100), ejection_fraction(50, 100)) == (-50, -100)


def test_no_ejection_fraction_without_a_cavity_at_end_diastole():
    assert ejection_fraction(0, 0) is None
    assert ejection_fraction(0, 10) is None


def test_mass_by_hand():
    assert MYOCARDIAL_DENSITY == 1.05
    assert myocardial_mass_g(100) == 105
    assert myocardial_mass_g(0) == 0


@pytest.mark.parametrize("volume", [-1, -0.001, math.nan, math.inf])
def test_invalid_volumes(volume):
    with pytest.raises(InputError, match=rf"^EDV: {volume} mL is not a volume; give a number of 0 or more$"):
        ejection_fraction(volume, 50)
    with pytest.raises(InputError, match=rf"^ESV: {volume} mL is not a volume"):
        ejection_fraction(0, volume)
    with pytest.raises(InputError, match="^ESV: "):
        stroke_volume_ml(100, volume)
    with pytest.raises(InputError, match=rf"^myocardium: {volume} mL is not a volume"):
        myocardial_mass_g(volume)


@pytest.mark.parametrize(
    ("mask", "spacing", "fault"),
    [
        (
            torch.ones(3, 3, 3),
            (1, 1, 1),
            "^masks: torch.float32: not boolean; compare with the label",
        ),
        (torch.ones(3, 3, dtype=torch.bool), (1, 1), r"^mask: 2 axes have no volume; give \[x, y, z\]"),
        (torch.ones(1, 3, 3, 3, dtype=torch.bool), (1, 1, 1), "^mask: 4 axes"),
        (torch.ones(3, 3, 3, dtype=torch.bool), (1, 1), r"^spacing: \(1, 1\) is not 3 positive numbers"),
        (torch.ones(3, 3, 3, dtype=torch.bool), (1, 1, 0), r"^spacing: \(1, 1, 0\) is not 3 positive numbers"),
        ([[[True]]], (1, 1, 1), "^masks: list is not an array"),
    ],
)
def test_invalid_masks(mask, spacing, fault):
    with pytest.raises(InputError, match=fault):
        volume_ml(mask, spacing)


def test_ventricle_function_by_hand():
    """1000 and 400 voxels of 2 mm^3 are 2 and 0.8 mL: a stroke volume of 1.2 mL, 60 %."""
    diastole, systole = np.zeros((2, 20, 20, 20), dtype=bool)
    diastole[:10, :10, :10] = True
    systole[:4, :10, :10] = True
    found = ventricle_function(diastole, systole, (1.0, 1.0, 2.0))
    assert found == pytest.approx({"edv_ml": 2.0, "esv_ml": 0.8, "stroke_volume_ml": 1.2, "ejection_fraction": 60.0})
    nothing = ventricle_function(np.zeros_like(diastole), np.zeros_like(systole), (1.0, 1.0, 2.0))
    assert nothing == {"edv_ml": 0.0, "esv_ml": 0.0, "stroke_volume_ml": 0.0, "ejection_fraction": None}
