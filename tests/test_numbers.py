"""Checks of numbers."""

import numpy as np
import pytest
import torch

from heartseg.errors import InputError
from heartseg.numbers import check_spacing, is_number


@pytest.mark.parametrize("value", [0, -1, 2.5, float("nan"), np.int64(3), np.float32(1)])
def test_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize("value", [True, np.bool_(True), "1", None, [1], 1j])
def test_not_numbers(value):
    assert not is_number(value) and not is_number(value, whole=True)


def test_whole_numbers():
    assert is_number(2, whole=True) and is_number(np.int64(2), whole=True) and not is_number(2.0, whole=True)


@pytest.mark.parametrize("spacing", [(1, 2, 0.5), np.array([1, 2, 0.5]), torch.tensor([1, 2, 0.5])])
def test_spacing_of_any_sequence(spacing):
    assert check_spacing(spacing, 3) == (1.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("spacing", "shown"),
    [
        ((1, 2), r"\(1, 2\)"),
        ((1, 0), r"\(1, 0\)"),
        ((1, 2, -0.5), r"\(1, 2, -0.5\)"),
        ((1, 2, float("nan")), r"\(1, 2, nan\)"),
        ((1, 2, float("inf")), r"\(1, 2, inf\)"),
        (1.5, "1.5"),
        ("abc", "'abc'"),
        (None, "None"),
    ],
)
def test_bad_spacing(spacing, shown):
    with pytest.raises(InputError, match=f"^spacing: {shown} is not 3 positive numbers; give mm per axis$"):
        check_spacing(spacing, 3)
