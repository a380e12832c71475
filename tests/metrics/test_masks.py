"""Boxes around the foreground, for any type and layout."""

import numpy as np
import pytest
import torch

from heartseg.errors import InputError
from heartseg.metrics.masks import as_arrays, bounds, common_box, count, crop

TYPES = ["bool", "uint8", "int16", "int32", "int64", "float32", "float64", ">i2"]


def volume(dtype="uint8", shape=(9, 7, 5)):
    """Return an array with two voxels that are not zero; their box is 2 to 5, 1 to 6 and 3 to 4."""
    array = np.zeros(shape, dtype=dtype)
    array[2, 5, 3] = array[5, 1, 4] = 1
    return array


BOX = (slice(2, 6), slice(1, 6), slice(3, 5))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(9, 7, 5), (6, 8, 16), (6, 6, 6)])  # rows of odd, of eight and of even length
@pytest.mark.parametrize("dtype", TYPES)
def test_bounds(dtype, shape, order):
    array = np.asarray(volume(dtype, shape), order=order)
    assert bounds(array) == BOX
    if dtype != ">i2":
        assert bounds(torch.from_numpy(array)) == BOX


def test_bounds_of_views():
    array = volume("int32")
    assert bounds(array[::-1]) == (slice(3, 7), *BOX[1:])
    assert bounds(array.transpose(2, 0, 1)) == (BOX[2], BOX[0], BOX[1])
    assert bounds(np.repeat(array, 2, axis=1)[:, ::2]) == BOX
    assert bounds(array[2, :, :]) == (slice(5, 6), slice(3, 4))


@pytest.mark.parametrize("place", [(0, 0, 0), (8, 6, 4), (0, 6, 2), (4, 0, 4)])
def test_bounds_of_a_single_voxel(place):
    array = np.zeros((9, 7, 5), dtype=bool)
    array[place] = True
    expected = tuple(slice(index, index + 1) for index in place)
    assert bounds(array) == bounds(torch.from_numpy(array)) == expected


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (0, 4), (4, 0, 2)])
@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_an_empty_mask_has_no_bounds(shape, dtype):
    nothing = np.zeros(shape, dtype=dtype)
    assert bounds(nothing) is None
    assert bounds(torch.from_numpy(nothing)) is None
    if dtype == "float32":
        assert bounds(-nothing) is None  # minus zero has a bit set


def test_common_box():
    assert common_box([BOX]) == BOX
    assert common_box([BOX, (slice(0, 3), slice(2, 9), slice(4, 5))]) == (slice(0, 6), slice(1, 9), slice(3, 5))


def test_a_crop_is_contiguous():
    array = volume()
    assert crop(array, BOX).flags.c_contiguous and crop(torch.from_numpy(array), BOX).is_contiguous()
    assert np.array_equal(crop(array, BOX), array[2:6, 1:6, 3:5])


def test_count():
    mask = volume("bool")
    assert count(mask) == count(torch.from_numpy(mask)) == 2


def test_tensors_on_a_cpu_are_not_copied():
    tensor = torch.zeros(3, 4)
    one, other = as_arrays(tensor, np.ones((3, 4)))
    tensor += 2
    assert (one == 2).all() and (other == 1).all()


def test_invalid_arrays():
    with pytest.raises(InputError, match=r"^label maps: shapes \(3, 4\) and \(4, 3\) differ; resample one"):
        as_arrays(np.zeros((3, 4)), torch.zeros(4, 3), "label maps")
    with pytest.raises(InputError, match="^masks: tuple is not an array; give tensors or NumPy arrays$"):
        as_arrays(torch.zeros(2), (0, 0))
