"""The output of TensorBoardRun, read back from the event files."""

import copy
import logging

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from heartseg.handlers.tensorboard_run import TensorBoardRun, write_graph


def network(dropout=0.2):
    torch.manual_seed(0)
    return UNet(3, 1, 1, channels=(2, 4), strides=(2,), dropout=dropout, norm="batch")


def trainer(handlers, net):
    generator = torch.Generator().manual_seed(0)
    data = [{"image": torch.rand(1, 8, 8, 8, generator=generator), "label": torch.ones(1, 8, 8, 8)} for _ in range(2)]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    engine = SupervisedTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=DataLoader(Dataset(data), batch_size=1),
        network=net,
        optimizer=optimizer,
        loss_function=torch.nn.functional.mse_loss,
        train_handlers=handlers,
    )
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: schedule.step())
    return engine


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_graph_rate_and_memory_are_written(tmp_path):
    trainer([TensorBoardRun([1, 1, 8, 8, 8], log_dir=str(tmp_path))], network()).run()
    events = read(tmp_path)
    assert events.Tags()["graph"]
    assert any("Conv3d" in node.name for node in events.Graph().node)
    rates = [(item.step, pytest.approx(item.value)) for item in events.Scalars("learning_rate")]
    assert rates == [(1, 0.1), (2, 0.05)]
    used = events.Scalars("memory/process")
    assert [item.step for item in used] == [1, 2]
    assert all(0.01 < item.value < 100 for item in used)
    assert set(events.Tags()["scalars"]) == {"learning_rate", "memory/process"}


def test_gpu_memory_is_written_with_a_gpu(tmp_path, monkeypatch):
    used = {"process": 1.0, "gpu": 2.0, "gpu_peak": 3.0}
    monkeypatch.setattr("heartseg.handlers.tensorboard_run.memory", lambda device: used)
    trainer([TensorBoardRun(log_dir=str(tmp_path))], network()).run()
    events = read(tmp_path)
    assert not events.Tags()["graph"]  # no input shape, no graph
    assert {name: events.Scalars(f"memory/{name}")[0].value for name in used} == used


def test_a_shared_writer_stays_open(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        trainer([TensorBoardRun([1, 1, 8, 8, 8], summary_writer=writer)], network()).run()
        writer.add_scalar("later", 1.0, 3)
    assert len(list(tmp_path.iterdir())) == 1
    assert "later" in read(tmp_path).Tags()["scalars"]


def test_the_graph_changes_nothing(tmp_path):
    net = network()
    net.train()
    next(net.children())[0].eval()  # a frozen part stays frozen
    modes = [module.training for module in net.modules()]
    weights = copy.deepcopy(net.state_dict())  # with the running statistics of the batch norm
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with SummaryWriter(str(tmp_path)) as writer:
        assert write_graph(writer, net, [1, 1, 8, 8, 8])
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_training_with_the_handler_gives_the_same_weights(tmp_path):
    results = []
    for handlers in ([], [TensorBoardRun([1, 1, 8, 8, 8], log_dir=str(tmp_path))]):
        net = network()
        torch.manual_seed(1)
        trainer(handlers, net).run()
        results.append(net.state_dict())
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


@pytest.mark.filterwarnings("error")
def test_a_network_that_cannot_be_traced_is_reported_in_one_line(tmp_path, caplog, capsys):
    net = network().train()
    with SummaryWriter(str(tmp_path)) as writer, caplog.at_level(logging.INFO):
        assert not write_graph(writer, net, [1, 2, 8, 8, 8])  # one channel too many
    assert len(caplog.records) == 1
    assert "\n" not in caplog.messages[0]
    assert "graph" in caplog.messages[0]
    assert capsys.readouterr() == ("", "")
    assert all(module.training for module in net.modules())


def test_a_resumed_run_does_not_draw_it_again(tmp_path):
    engine = trainer([TensorBoardRun([1, 1, 8, 8, 8], log_dir=str(tmp_path))], network())
    engine.state.epoch, engine.state.iteration = 1, 2
    engine.run()
    events = read(tmp_path)
    assert not events.Tags()["graph"]
    assert [item.step for item in events.Scalars("learning_rate")] == [2]
