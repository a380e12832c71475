"""Half precision on a CPU: what goes in and comes out is float32, what lies between is bfloat16."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SimpleInferer
from monai.networks.nets import UNet

from heartseg.inference.half_precision import BFloat16Inferer

SEEN: list[torch.dtype] = []


@pytest.fixture
def network() -> torch.nn.Module:
    """A small one; `SEEN` keeps in what type its first convolution answers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet(2, 3, 4, [8, 16, 32], [2, 2], num_res_units=1, norm="instance")
    first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
    first.register_forward_hook(lambda module, inputs, output: SEEN.append(output.dtype))
    SEEN.clear()
    return network


@pytest.fixture
def slices() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_float32_comes_out_close_to_full_precision(network, slices):
    with torch.no_grad():
        full, half = SimpleInferer()(slices, network), BFloat16Inferer()(slices, network)
    assert [torch.float32, torch.bfloat16] == SEEN
    assert half.dtype == torch.float32 and half.shape == full.shape
    assert not torch.equal(half, full)
    # bfloat16 keeps 8 bits: a part in 256 of each number, over some layers
    assert (half - full).abs().mean() < 0.02 * full.std()


def test_gradients_are_float32_and_close_to_those_of_full_precision(network, slices):
    gradients = []
    for inferer in (SimpleInferer(), BFloat16Inferer()):
        network.zero_grad()
        inferer(slices, network).square().mean().backward()
        assert {parameter.grad.dtype for parameter in network.parameters()} == {torch.float32}
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert [torch.float32, torch.bfloat16] == SEEN
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    full, half = gradients
    assert torch.nn.functional.cosine_similarity(full, half, dim=0) > 0.99


def test_disabled_it_is_the_simple_inferer(network, slices):
    with torch.no_grad():
        assert torch.equal(BFloat16Inferer(enabled=False)(slices, network), SimpleInferer()(slices, network))
    assert [torch.float32, torch.float32] == SEEN


def test_arguments_reach_the_network(slices):
    found = BFloat16Inferer()(slices, lambda x, factor, offset: x * factor + offset, 2.0, offset=1.0)
    assert torch.equal(found, slices * 2 + 1)


def test_outside_of_it_nothing_is_half(network, slices):
    with torch.no_grad():
        BFloat16Inferer()(slices, network)
        assert not torch.is_autocast_enabled("cpu")
        assert SimpleInferer()(slices, network).dtype == torch.float32
    assert [torch.bfloat16, torch.float32] == SEEN
