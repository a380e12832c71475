"""Random views of a chest, which train the pose network."""

import numpy as np
import pytest
import torch

import heartseg.data.anatomy as anatomy_module
from heartseg.data import RandPosed
from heartseg.networks.pose import SIZE, apply_pose, pose_axcodes, unit_range


def ramp(axis):
    """Return an image whose intensity increases along one axis of the RAS anatomy."""
    shape = [1, 36, 34, 40]
    line = torch.linspace(0, 1, shape[axis + 1])
    return line.reshape([-1 if i == axis + 1 else 1 for i in range(4)]).expand(shape).contiguous()


def views(seed, count, volume=None):
    transform = RandPosed("image").set_random_state(seed=seed)
    volume = ramp(0) if volume is None else volume
    return [transform({"image": volume}) for _ in range(count)]


def test_a_random_view_has_the_network_s_shape_and_range():
    found = views(0, 60)
    images = torch.stack([view["image"] for view in found])
    assert images.shape == (60, 1, SIZE, SIZE, SIZE) and images.dtype == torch.float32
    # The noise's standard deviation is at most 0.1; six of them beyond 0..1 do not occur.
    assert images.isfinite().all() and images.min() > -0.65 and images.max() < 1.65
    quiet = [image for image in images if image.min() >= 0]
    assert 15 < len(quiet) < 45  # every other view has no noise
    assert all((image.min(), image.max()) == (0, 1) for image in quiet)
    poses = {view["pose"] for view in found}
    assert poses <= set(range(48)) and len(poses) > 25


def test_a_field_of_view_is_cropped_to_boxes_of_18_voxels_or_more():
    boxes = set()
    for view in views(1, 40, torch.rand(1, 40, 40, 40, generator=torch.Generator().manual_seed(0))):
        filled = (view["image"][0].abs() > 0).nonzero()
        if view["image"].min() >= 0:  # without noise, which fills everything
            boxes.add(tuple((filled.amax(0) - filled.amin(0) + 1).tolist()))
    lengths = {length for box in boxes for length in box}
    assert min(lengths) >= 18 and max(lengths) == SIZE and len(lengths) > 4


def test_random_views_are_seeded():
    for one, other in zip(views(3, 4), views(3, 4), strict=True):
        assert one["pose"] == other["pose"]
        assert torch.equal(one["image"], other["image"])
    assert not torch.equal(views(3, 1)[0]["image"], views(4, 1)[0]["image"])
    first, second = views(3, 2)
    assert not torch.equal(first["image"], second["image"])


def test_the_pose_is_that_of_the_turned_view(monkeypatch):
    turned = views(5, 12)
    monkeypatch.setattr(anatomy_module, "apply_pose", lambda volume, pose: volume)
    for view, unturned in zip(turned, views(5, 12), strict=True):
        assert torch.equal(view["image"], apply_pose(unturned["image"], view["pose"]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_pose_gives_the_directions_of_right_front_and_top(axis):
    """A ramp along R, A or S is steepest along the axis with that letter in the pose's codes, in its direction."""
    for view in views(6 + axis, 20, ramp(axis)):
        middle = view["image"][0, 10:18, 10:18, 10:18]  # inside every box; rotations are below 20 degrees
        slopes = [(middle.narrow(i, 4, 4).mean() - middle.narrow(i, 0, 4).mean()).item() for i in range(3)]
        steepest = max(range(3), key=lambda i: abs(slopes[i]))
        letter = pose_axcodes(view["pose"])[steepest]
        assert letter == ("RAS" if slopes[steepest] > 0 else "LPI")[axis]


def test_a_view_does_not_change_its_volume():
    volume = ramp(2)
    views(7, 3, volume)
    assert torch.equal(volume, ramp(2))


class FixedShift:
    """A random state that draws no rotation, size 1, no crop, no contrast change, no noise, pose 0, and a shift."""

    def __init__(self, shift):
        self.shift = shift

    def uniform(self, low, high, size):
        return np.array({-0.3: (0, 0, 0), 0.8: (1, 1, 1), -5: self.shift}[low], dtype=float)

    def rand(self, *size):
        return np.ones(size) if size else 1.0

    def randint(self, low, high=None, size=None):
        return low if high is not None and size is None else np.zeros(size, int) if size else 0


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, -2, 3)])
def test_a_view_is_cropped_from_the_centre_voxel_by_voxel(shift):
    """The view shows 28 of 36 x 34 x 40 voxels: it omits 4, 3 and 6 on either side, plus or minus the shift."""
    volume = torch.rand(1, 36, 34, 40, generator=torch.Generator().manual_seed(0))
    transform = RandPosed("image")
    transform.R = FixedShift(shift)
    view = transform({"image": volume})
    middle = volume[:, 4 + shift[0] :, 3 + shift[1] :, 6 + shift[2] :][:, :SIZE, :SIZE, :SIZE]
    assert view["pose"] == 0
    torch.testing.assert_close(view["image"], unit_range(middle), rtol=0, atol=1e-4)
