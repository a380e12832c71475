"""Slices of a stack come back in their places, from whole slices and from a window on the heart."""

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SliceInferer
from monai.networks.nets import UNet

from heartseg.data.stacks import neighbouring_slices
from heartseg.errors import InputError
from heartseg.inference.stack_slices import StackInferer


def middle_slice(slices: torch.Tensor) -> torch.Tensor:
    """A network that answers with the slice itself, and with the sum of all it sees."""
    return torch.stack([slices[:, slices.shape[1] // 2], slices.sum(1)], dim=1)


@pytest.mark.parametrize("shape", [(32, 16, 5), (30, 21, 7), (1, 1, 1), (17, 40, 2)])
@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_a_stack_comes_back_slice_by_slice(shape, neighbours):
    seen = []

    def network(slices):
        seen.append(tuple(slices.shape))
        return middle_slice(slices)

    stacks = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1))
    logits = StackInferer(neighbours, batch_slices=3)(stacks, network)
    assert logits.shape == (2, 2, *shape)
    assert torch.equal(logits[:, 0], stacks[:, 0])
    n = shape[-1]
    for z in range(n):
        beside = [min(max(z + k, 0), n - 1) for k in range(-neighbours, neighbours + 1)]
        assert torch.allclose(logits[:, 1, ..., z], stacks[:, 0][..., beside].sum(-1), atol=1e-5)
    assert all(s[0] <= 3 and s[1] == 2 * neighbours + 1 and s[2] % 16 == s[3] % 16 == 0 for s in seen)
    assert len(seen) == 2 * -(-n // 3)


def test_a_stack_of_independent_slices_equals_monais_slice_inferer():
    network = torch.nn.Conv2d(1, 4, 3, padding=1)
    stack = torch.randn(1, 1, 32, 48, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours = StackInferer(0)(stack, network)
        monais = SliceInferer(roi_size=(32, 48), spatial_dim=2, sw_batch_size=4)(stack, network)
    assert torch.allclose(ours, monais, atol=1e-5)


def test_a_stack_keeps_its_metadata():
    stack = MetaTensor(torch.zeros(1, 1, 16, 16, 2), affine=torch.diag(torch.tensor([1.5, 1.5, 10, 1.0])))
    logits = StackInferer(1)(stack, middle_slice)
    assert isinstance(logits, MetaTensor) and torch.equal(logits.affine, stack.affine)


def bright(slices):
    """A network that finds what is bright, and remembers what it was shown."""
    bright.seen.append(tuple(slices.shape))
    middle = slices[:, slices.shape[1] // 2]
    return torch.stack([torch.full_like(middle, 0.5), middle], dim=1)


@pytest.mark.parametrize(
    ("shape", "heart", "window"),
    [
        # the heart's centre is the window's: rows 30 to 37 have their centre at 33.5, so the window is 26 to 41
        ((64, 48, 7), (slice(30, 38), slice(20, 28)), (slice(26, 42), slice(16, 32))),
        ((64, 48, 7), (slice(0, 8), slice(40, 48)), (slice(0, 16), slice(32, 48))),  # at a corner: not beyond it
        ((20, 10, 4), (slice(2, 10), slice(1, 9)), (slice(0, 16), slice(0, 10))),  # slices narrower than the window
        ((40, 40, 1), (slice(20, 28), slice(20, 28)), (slice(16, 32), slice(16, 32))),
    ],
)
def test_a_stack_is_seen_in_a_window_on_the_heart(shape, heart, window):
    bright.seen = []
    stack = torch.zeros(1, 1, *shape)
    stack[0, 0, *heart] = 1.0
    stack[0, 0, -1, 0] = 1.0  # a speck elsewhere, smaller than the heart
    logits = StackInferer(1, input_size=(16, 16), multiple=8)(stack, bright)
    inside = torch.zeros(shape, dtype=torch.bool)
    inside[window] = True
    assert torch.equal(logits[0, 1][inside], stack[0, 0][inside])
    assert (logits[0, 1][~inside] == -20).all() and (logits[0, 0][~inside] == 0).all()
    whole, windowed = bright.seen[:-1], bright.seen[-1]
    assert windowed == (shape[-1], 3, 16, 16)
    assert whole == [(1, 3, *(max(-(-size // 8) * 8, 16) for size in shape[:2]))]  # the middle slice


def test_a_heart_that_the_middle_slice_does_not_show_is_found():
    bright.seen = []
    stack = torch.zeros(1, 1, 64, 48, 7)
    stack[0, 0, 30:38, 20:28, 5] = 1.0
    logits = StackInferer(0, input_size=(16, 16), multiple=8)(stack, bright)
    assert torch.equal(logits[0, 1, 26:42, 16:32], stack[0, 0, 26:42, 16:32])
    assert [seen[0] for seen in bright.seen] == [1, 7, 7]


def test_a_speck_in_the_middle_slice_is_no_heart():
    bright.seen = []
    stack = torch.zeros(1, 1, 64, 48, 9)
    stack[0, 0, 30:38, 20:28, :4] = stack[0, 0, 30:38, 20:28, 5:] = 1.0
    stack[0, 0, 0, 0, 4] = 1.0
    logits = StackInferer(0, input_size=(16, 16), multiple=8)(stack, bright)
    assert torch.equal(logits[0, 1, 26:42, 16:32], stack[0, 0, 26:42, 16:32])


def test_a_stack_without_a_heart_is_seen_whole():
    bright.seen = []
    logits = StackInferer(0, input_size=(16, 16), multiple=8)(torch.zeros(1, 1, 30, 20, 3), bright)
    assert torch.equal(logits[0, 1], torch.zeros(30, 20, 3)) and bright.seen[-1] == (3, 1, 32, 24)


def test_the_window_of_a_stack_equals_the_network_on_it():
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    stack = torch.randn(1, 1, 40, 40, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole = StackInferer(1, input_size=(48, 48))(stack, network)  # larger than the slices: repeated on all sides
        expected = network(torch.nn.functional.pad(neighbouring_slices(stack[0], 1), (4, 4, 4, 4), mode="replicate"))
    assert torch.allclose(whole[0], expected[..., 4:44, 4:44].movedim(0, -1), atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"neighbours": -1}, {"neighbours": 1.5}, {"batch_slices": 0}, {"multiple": True}, {"input_size": [0, 32]}]
)
def test_a_stack_inferer_refuses_what_is_no_number_of_slices(wrong):
    with pytest.raises(InputError, match="give a whole number of at least"):
        StackInferer(**wrong)


@pytest.mark.parametrize("size", [[100, 96], [16, 96]])
def test_a_window_that_the_network_cannot_take_is_refused(size):
    with pytest.raises(InputError, match=r"input_size: \[.*, 96\] does not fit .* multiples of 16, at least 32"):
        StackInferer(input_size=size)


def test_slices_of_a_few_voxels_are_seen():
    """Four strides of 2 would leave one voxel of a slice of 16, over which nothing can be normalised."""
    network = UNet(2, 3, 4, [4, 8, 8, 8, 8], [2] * 4, norm="instance")
    logits = StackInferer(1, input_size=(32, 32))(torch.randn(1, 1, 8, 5, 2), network)
    assert logits.shape == (1, 4, 8, 5, 2) and logits.isfinite().all()
