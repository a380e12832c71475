"""The gradient of each step is clipped once, after accumulation."""

import pytest
import torch
from monai.engines import SupervisedTrainer

from heartseg.errors import InputError
from heartseg.handlers import GradientClipping


def trained(clipping: GradientClipping | None, batches: list[list[float]], accumulation: int = 1) -> torch.nn.Linear:
    """Train a network ``y = w x`` with w = (0, 0) by plain gradient descent of rate 1 on the mean of y."""
    network = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    data = [{"image": torch.tensor([batch], dtype=torch.float32), "label": torch.zeros(1, 1)} for batch in batches]
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=data,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        loss_function=lambda pred, label: pred.mean(),
        accumulation_steps=accumulation,
        train_handlers=[clipping] if clipping else [],
        decollate=False,
    )
    trainer.run()
    return network


def test_a_large_gradient_is_clipped_and_a_small_one_is_not():
    clipping = GradientClipping(1.0)
    # The gradient is the batch itself: (3, 4) has the norm 5, (0.3, 0.4) the norm 0.5.
    assert trained(clipping, [[3, 4]]).weight.tolist()[0] == pytest.approx([-0.6, -0.8], rel=1e-5)
    assert float(clipping.norm) == pytest.approx(5)
    assert trained(clipping, [[0.3, 0.4]]).weight.tolist()[0] == pytest.approx([-0.3, -0.4])
    assert float(clipping.norm) == pytest.approx(0.5)
    assert trained(None, [[3, 4]]).weight.tolist()[0] == [-3, -4]


def test_an_accumulated_gradient_is_clipped_as_a_whole():
    """(30, 0) and (0, 40), halved and added, are (15, 20), clipped to (6, 8), not equal as if clipped one by one."""
    clipping = GradientClipping(10.0)
    network = trained(clipping, [[30, 0], [0, 40]], accumulation=2)
    assert network.weight.tolist()[0] == pytest.approx([-6, -8], rel=1e-5)
    assert float(clipping.norm) == pytest.approx(25)


def test_the_hook_is_removed_after_the_run():
    clipping = GradientClipping(1.0)
    trained(clipping, [[3, 4]])
    assert clipping._hook is None


@pytest.mark.parametrize("norm", [0, -1, "1", None, True, float("nan")])
def test_invalid_norms_are_refused(norm):
    with pytest.raises(InputError, match="clipping: .* is not a norm; give a positive number"):
        GradientClipping(norm)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="mixed precision needs a GPU")
def test_scaled_gradients_are_clipped_unscaled():
    network = torch.nn.Linear(2, 1, bias=False).cuda()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    clipping = GradientClipping(1.0)
    optimizer.register_step_pre_hook(clipping._clip)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024)
    scaler.scale(network(torch.tensor([[3.0, 4.0]]).cuda()).mean()).backward()
    scaler.step(optimizer)
    assert float(clipping.norm) == pytest.approx(5, rel=1e-2)
