"""Stacks: the slice axis, the same network input however a file is stored, and slices as channels."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Invertd

from heartseg.data.stacks import SliceAxisLastd, neighbouring_slices, slice_axis, stack_axis, stack_codes
from heartseg.errors import InputError


@pytest.mark.parametrize(
    ("spacing", "through", "stack"),
    [
        ([1.5, 1.5, 10], 2, 2),
        ([8, 1.4, 1.4], 0, 0),
        ([1.25, 1.25, 1.37], 2, None),
        ([1, 1, 1], 2, None),
        ([2, 1, 1], 0, None),
        ([1, 3, 1.2], 1, None),  # exactly 2.5 times the larger of the others, not more
        ([1, 3.01, 1.2], 1, 1),
        ([1.5, 10], 1, None),  # an image, not a stack
    ],
)
def test_axis_through_the_slices(spacing, through, stack):
    assert slice_axis(spacing) == through
    assert stack_axis(spacing) == stack


def stack(codes: str = "RAS", spacing: tuple[float, ...] = (1.5, 1.4, 9.0)) -> MetaTensor:
    """A stack ``[1, 4, 5, 3]`` of distinct values, stored with its axes in another order."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-20, 30, 7]
    image = nib.Nifti1Image(np.arange(60, dtype=np.float32).reshape(4, 5, 3), affine)
    own = nib.orientations.io_orientation(affine)
    image = image.as_reoriented(nib.orientations.ornt_transform(own, nib.orientations.axcodes2ornt(codes)))
    return MetaTensor(torch.tensor(image.get_fdata(dtype=np.float32).copy())[None], affine=torch.tensor(image.affine))


ORDERS = ["RAS", "LPS", "SAR", "IRA", "ASR", "PIL", "SLA"]


@pytest.mark.parametrize("codes", ORDERS)
def test_the_network_input_does_not_depend_on_how_a_file_is_stored(codes):
    seen = SliceAxisLastd("image")({"image": stack(codes)})["image"]
    assert seen.shape == (1, 4, 5, 3)
    assert torch.equal(seen.as_tensor(), stack().as_tensor())
    assert torch.allclose(seen.affine, stack().affine)


@pytest.mark.parametrize("codes", ORDERS)
def test_invertd_restores_the_grid_of_the_file(codes):
    turn = Compose([SliceAxisLastd("image")])
    data = turn({"image": stack(codes)})
    data["pred"] = MetaTensor(data["image"].as_tensor() + 100, meta=data["image"].meta)
    back = Invertd("pred", turn, "image")(data)["pred"]
    assert torch.equal(back.as_tensor(), stack(codes).as_tensor() + 100)
    assert torch.allclose(back.affine, stack(codes).affine)


def test_an_oblique_stack_keeps_its_slices():
    """The axis with the largest spacing comes last, even if it points forwards rather than along the header's S."""
    turned = np.array([[0, 0, -9.0, 0], [1.5, 0, 0, 0], [0, 1.4, 0, 0], [0, 0, 0, 1]])  # axes A, S, L
    image = MetaTensor(torch.arange(60.0).reshape(1, 4, 5, 3), affine=torch.tensor(turned))
    assert stack_codes(image) == "ASR"
    seen = SliceAxisLastd("image")({"image": image})["image"]
    assert torch.equal(seen.as_tensor(), image.as_tensor().flip(-1))


def test_the_axis_can_be_given():
    image = stack()
    assert stack_codes(image, 0) == "ASR"
    assert SliceAxisLastd("image", slice_axis=0)({"image": image})["image"].shape == (1, 5, 3, 4)
    for wrong in (3, -1, 1.5, 2.0, "z", True):
        with pytest.raises(InputError, match="slice_axis: .* is not an axis; give 0, 1 or 2"):
            SliceAxisLastd("image", slice_axis=wrong)


def test_label_and_image_are_reoriented_alike():
    data = SliceAxisLastd(["image", "label"])({"image": stack("SAR"), "label": stack("SAR")})
    assert torch.equal(data["image"].as_tensor(), data["label"].as_tensor())


def test_neighbouring_slices():
    image = torch.arange(3.0).expand(1, 2, 2, 3)  # slice k holds k
    channels = neighbouring_slices(image, 1)
    assert channels.shape == (3, 3, 2, 2)
    assert channels[:, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]  # the ends are repeated
    assert neighbouring_slices(image, 0)[:, :, 1, 1].tolist() == [[0], [1], [2]]
    assert neighbouring_slices(image[..., :1], 2)[:, :, 0, 0].tolist() == [[0] * 5]


def test_a_guessed_axis_is_reported(caplog):
    SliceAxisLastd("image")({"image": stack()})
    assert caplog.text == ""
    SliceAxisLastd("image")({"image": stack(spacing=(1.5, 1.5, 1.0))})
    assert "spacing 1.5 x 1.5 x 1 mm shows no slices; slice_axis 1 is assumed" in caplog.text


def test_threads_that_fill_a_cache_do_not_interfere():
    data = [{"image": stack(codes)} for codes in ("RAS", "SAR", "IRA", "ASR")] * 25
    across = {"image": MetaTensor(stack().as_tensor(), affine=torch.diag(torch.tensor([9.0, 1.5, 1.4, 1.0])))}
    cache = CacheDataset(data + [across] * 100, SliceAxisLastd("image"), num_workers=2, progress=False)
    shapes = [tuple(item["image"].shape) for item in cache]
    assert shapes == [(1, 4, 5, 3)] * 100 + [(1, 5, 3, 4)] * 100
