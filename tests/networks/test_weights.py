"""Loading weights strictly and safely, with readable errors."""

import json
import logging
import os
import pickle

import pytest
import torch
from monai.networks.nets import AttentionUnet, UNet
from torch import nn

from heartseg.errors import InputError
from heartseg.networks import load_weights
from heartseg.networks.weights import licence_of, notes_file, read_notes, read_state


def net(width=3):
    return nn.Sequential(nn.Conv3d(1, width, 3), nn.InstanceNorm3d(width, affine=True), nn.Conv3d(width, 2, 1))


@pytest.fixture
def state():
    torch.manual_seed(7)
    return net().state_dict()


def saved(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def fault(path, network=None):
    with pytest.raises(InputError) as caught:
        load_weights(net() if network is None else network, path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"network": state, "optimizer": {"state": {}}},
        lambda state: {"ema": state},
        lambda state: {"model": {"state_dict": state}},
    ],
    ids=["bare", "model", "state_dict", "network", "ema", "nested"],
)
def test_bare_and_wrapped_states(tmp_path, state, wrap):
    network = net()
    assert not equal(network.state_dict(), state)
    assert load_weights(network, saved(tmp_path, wrap(state))) is network
    assert equal(network.state_dict(), state)


def test_path_as_text(tmp_path, state):
    assert equal(load_weights(net(), str(saved(tmp_path, state))).state_dict(), state)


def test_none_leaves_the_network_as_it_is(state):
    network = net()
    network.load_state_dict(state)
    assert load_weights(network, None) is network
    assert equal(network.state_dict(), state)


def test_missing_file(tmp_path):
    assert "no such file; train first, or give other weights" in fault(tmp_path / "gone.pt")
    assert f"{tmp_path}: is a folder; give the file with the weights" in fault(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x80\x02."])
def test_damaged_file(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert "give a PyTorch state dict" in fault(path) or "is not a state dict" in fault(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_file(tmp_path, state, share):
    path = saved(tmp_path, state)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "cannot be read as weights" in fault(path)


class Mine:
    """Runs a command where it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, state, how):
    target, path = tmp_path / "it-ran", tmp_path / "model.pt"
    content = {"weight": Mine(target)}
    if how == "torch":
        torch.save({**state, **content}, path)
    else:
        path.write_bytes(pickle.dumps(content))
    assert "cannot be read as weights" in fault(path)
    assert not target.exists()
    # An unsafe reader does run it, so the test is meaningful.
    if how == "torch":
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert target.is_dir()


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"model": {}}, {"a": torch.ones(1), "b": 2}, 5])
def test_not_a_state_dict(tmp_path, content):
    assert "is not a state dict (names and tensors); give the weights of a network" in fault(saved(tmp_path, content))


def test_the_first_layer_of_another_shape_is_named(tmp_path, state):
    line = fault(saved(tmp_path, state), net(width=5))
    assert "layer 0.weight is [3, 1, 3, 3, 3] in the file, [5, 1, 3, 3, 3] in the network" in line
    assert "2.weight" not in line
    assert line.endswith("give the overlay that they were trained with, or other weights")


def test_a_layer_that_the_file_lacks_is_named(tmp_path, state):
    del state["1.bias"], state["2.weight"]
    assert "the weights lack layer 1.bias;" in fault(saved(tmp_path, state))


def test_a_layer_that_the_network_lacks_is_named(tmp_path, state):
    assert "the network lacks layer 3.weight;" in fault(saved(tmp_path, {**state, "3.weight": torch.ones(1)}))


def test_a_refused_file_leaves_the_network_as_it_is(tmp_path, state):
    network = net()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    del state["2.bias"]
    fault(saved(tmp_path, state), network)
    assert equal(network.state_dict(), before)


def test_read_state_gives_the_tensors(tmp_path, state):
    assert equal(read_state(saved(tmp_path, {"model": state})), dict(state))


SIZES = {"spatial_dims": 2, "in_channels": 1, "out_channels": 4, "channels": [4, 8], "strides": [2]}


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state}], ids=["bare", "model"])
def test_weights_of_unet_and_attention_unet_are_not_interchangeable(tmp_path, wrap):
    unet, attention = UNet(**SIZES, num_res_units=2), AttentionUnet(**SIZES)
    of_unet = fault(saved(tmp_path, wrap(unet.state_dict())), attention)
    assert "weights of another network: the weights lack layer model.0.conv.0.conv.weight; give the overlay" in of_unet
    of_attention = fault(saved(tmp_path, wrap(attention.state_dict())), unet)
    assert "weights of another network: the weights lack layer model.0.conv.unit0.conv.weight; give" in of_attention
    own = saved(tmp_path, wrap(attention.state_dict()))
    assert equal(load_weights(AttentionUnet(**SIZES), own).state_dict(), attention.state_dict())


def test_a_unet_of_other_channels(tmp_path):
    wider = UNet(**{**SIZES, "in_channels": 3})
    line = fault(saved(tmp_path, {"model": UNet(**SIZES).state_dict()}), wider)
    assert "layer model.0.conv.weight is [4, 1, 3, 3] in the file, [4, 3, 3, 3] in the network;" in line


LICENCE = {"name": "CC BY-NC-SA 4.0", "commercial": False, "file": "LICENSE"}


def licensed(tmp_path, state, licence):
    (tmp_path / "LICENSE").write_text("terms")
    (tmp_path / "model.json").write_text(json.dumps({"train": ["a"], "licence": licence}))
    return saved(tmp_path, state)


@pytest.mark.parametrize(
    ("licence", "line"),
    [
        (LICENCE, "weights under CC BY-NC-SA 4.0: non-commercial use only (see {folder}/LICENSE)"),
        ({**LICENCE, "file": "../LICENSE"}, "weights under CC BY-NC-SA 4.0: non-commercial use only"),  # missing file
        ({"name": "CC BY-NC 4.0", "commercial": False}, "weights under CC BY-NC 4.0: non-commercial use only"),
        ({**LICENCE, "name": "CC BY 4.0", "commercial": True}, "weights under CC BY 4.0 (see {folder}/LICENSE)"),
        ({"name": "two\nlines", "commercial": True}, "weights under two lines"),
    ],
)
def test_a_licence_is_logged_once_per_file(tmp_path, state, caplog, licence, line):
    path = licensed(tmp_path, state, licence)
    for _ in range(2):
        load_weights(net(), path)
    expected = f"{path}: " + line.format(folder=tmp_path)
    assert [(entry.levelno, entry.getMessage()) for entry in caplog.records] == [(logging.WARNING, expected)]


def test_a_licence_is_shown_without_logging_set_up(tmp_path, state, python):
    path = licensed(tmp_path, state, LICENCE)
    code = f"from heartseg.networks.weights import _log_licence as log, Path; log(Path({str(path)!r}))"
    ended = python("-c", code)
    assert ended.stderr == f"{path}: weights under CC BY-NC-SA 4.0: non-commercial use only (see {tmp_path}/LICENSE)\n"


def test_weights_without_a_licence_log_nothing(tmp_path, state, caplog):
    path = saved(tmp_path, state)
    load_weights(net(), path)
    (tmp_path / "model.json").write_text('{"train": ["a"]}')
    load_weights(net(), path)
    assert caplog.records == []
    assert licence_of(path) is None


@pytest.mark.parametrize(
    "licence",
    [
        "CC BY-NC-SA 4.0",
        {},
        {"name": "CC BY-NC-SA 4.0"},
        {"commercial": False},
        {"name": " ", "commercial": False},
        {"name": 4, "commercial": False},
        {"name": "CC BY-NC-SA 4.0", "commercial": "no"},
        {"name": "CC BY-NC-SA 4.0", "commercial": False, "file": 3},
    ],
)
def test_an_unreadable_licence_is_refused(tmp_path, state, licence):
    path = licensed(tmp_path, state, licence)
    network = net()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(network, path)
    example = '{"name": "CC BY-NC-SA 4.0", "commercial": false}'
    assert str(caught.value) == f'{tmp_path}/model.json: "licence" cannot be read; write {example}'
    assert equal(network.state_dict(), before)


def test_missing_weights_with_a_licence_were_kept_out_of_the_wheel(tmp_path, state):
    path = licensed(tmp_path, state, LICENCE)
    path.unlink()
    assert fault(path) == (
        f"{path}: no such file; their licence (CC BY-NC-SA 4.0) keeps these weights out of the wheel: give those of a "
        "clone of the repository (--weights FILE), or train your own"
    )


def test_missing_weights_of_a_run(tmp_path, state):
    path = licensed(tmp_path, state, {"name": "CC BY-NC-SA 4.0", "commercial": False})  # inherited, without its file
    path.unlink()
    assert fault(path).endswith("no such file; train first, or give other weights")


def test_notes_are_next_to_the_weights(tmp_path):
    assert notes_file(tmp_path / "pose.pt") == tmp_path / "pose.json"
    assert notes_file(tmp_path / "final.pt") == notes_file(tmp_path / "model.pt") == tmp_path / "model.json"
    assert read_notes(tmp_path / "model.pt") == {}
    (tmp_path / "model.json").write_text('{"train": ["a"]}')
    assert read_notes(tmp_path / "checkpoint.pt") == {"train": ["a"]}
