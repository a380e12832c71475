"""Lost slices by hand; all others bit for bit."""

import pytest
import torch
from images import scan, texture
from monai.data import MetaTensor

from heartseg.artifacts import RandSliceDropout, RandSliceDropoutd, slice_dropout
from heartseg.errors import InputError


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_other_slices_are_unchanged(axis, dtype):
    image = (5 * texture(2, 6, 7, 8, dtype=torch.float64) - 2).to(dtype)
    n = image.shape[1:][axis]
    found = slice_dropout(image, [4, 1, 4], 0.0, axis)
    lines, was = (x.movedim((1 + axis) % 4 if axis >= 0 else axis, 0) for x in (found, image))
    for i in range(n):
        if i not in (1, 4):
            assert torch.equal(lines[i], was[i])
    floor = image.amin((1, 2, 3))[:, None, None].expand(was[1].shape)
    assert torch.equal(lines[1], floor) and torch.equal(lines[4], floor)


def test_remaining_signal_by_hand():
    """A quarter of the signal above -1."""
    image = torch.tensor([[-1.0, 3.0], [7.0, 1.0]])
    assert torch.equal(slice_dropout(image, [1], 0.25, 0, 2), torch.tensor([[-1.0, 3.0], [1.0, -0.5]]))
    assert torch.equal(slice_dropout(image, torch.tensor([1]), 0.25, 1, 2), torch.tensor([[-1.0, 0.0], [7.0, -0.5]]))


def test_the_range_is_not_exceeded():
    image = texture(2, 6, 7, 8) - 0.5
    found = slice_dropout(image, range(8), 0.3)
    assert torch.equal(found.amin((1, 2, 3)), image.amin((1, 2, 3))) and found.max() < image.max()


def test_nothing_lost_is_the_identity():
    image = texture(1, 6, 7, 8)
    assert torch.equal(slice_dropout(image, []), image)
    assert torch.equal(slice_dropout(image, [1, 2], 1.0), image)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (([8],), "slice 8 is not one of 8; count from 0 to 7"),
        (([-1],), "slice -1 is not one of 8"),
        (([7], 0, 0), "slice 7 is not one of 6; count from 0 to 5"),
        (([1], -0.1), "slice_dropout: remaining: -0.1 is not a strength"),
        (([1], True), "remaining: True is not a strength"),
        (([1], 0, 3), "axis: 3 is not one of 3 spatial axes"),
    ],
)
def test_invalid_numbers(numbers, words):
    with pytest.raises(InputError, match=words):
        slice_dropout(texture(1, 6, 7, 8), *numbers)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [((1, 1, 1), 2), ((1, 1, 8), 2), ((8, 1, 1), 0), ((1, 8, 7), 2), ((1, 8, 6), 1), ((1.25, 1.25, 1.37), 2)],
)
def test_slices_are_along_the_largest_spacing(spacing, axis):
    """The last of those within a fifth of it, as nearly isotropic scans have no thick axis."""
    transform = RandSliceDropout(prob=1, share=(0.1, 0.1))
    image = MetaTensor(texture(1, 6, 7, 8), affine=torch.diag(torch.tensor([*spacing, 1.0])))
    transform.randomize(image)
    assert transform.parameters["axis"] == axis
    fixed = RandSliceDropout(prob=1, share=(0.1, 0.1), axis=1)
    fixed.randomize(image)
    assert fixed.parameters["axis"] == 1


@pytest.mark.parametrize(("share", "lost"), [(0.0, 0), (0.01, 1), (0.1, 2), (0.26, 5), (1.0, 20)])
def test_number_of_slices(share, lost):
    """That share of 20, at least one; any slice may be drawn, each only once."""
    transform = RandSliceDropout(prob=1, share=(share, share), remaining=(0.2, 0.4)).set_random_state(0)
    seen, remains = set(), []
    for _ in range(300):
        transform.randomize(texture(1, 2, 3, 20))
        slices = transform.parameters["slices"]
        assert len(slices) == len(set(slices)) == lost and slices == sorted(slices)
        seen.update(slices)
        remains.append(transform.parameters["remaining"])
    assert seen == (set(range(20)) if lost else set())
    assert 0.2 <= min(remains) < 0.22 and 0.38 < max(remains) <= 0.4


def test_invalid_share():
    with pytest.raises(InputError, match=r"RandSliceDropout: share 1\.2 is more than all slices; give at most 1"):
        RandSliceDropout(share=1.2)


def test_dictionary_form():
    image = scan(1, 8, 7, 6)
    found = RandSliceDropoutd("image", prob=1, share=(0.5, 0.5)).set_random_state(4)({"image": image})["image"]
    assert torch.equal(found, RandSliceDropout(prob=1, share=(0.5, 0.5)).set_random_state(4)(image))
    assert not torch.equal(found, image)
