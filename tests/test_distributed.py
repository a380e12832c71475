"""Several processes: what they share, gather and agree on. What bundles make of it: bundles/test_multi_gpu.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pairs import PAIR, together

from heartseg import distributed
from heartseg.errors import InputError
from heartseg.training import EpochSampler


def test_alone_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    network = torch.nn.Linear(1, 1)
    distributed.join()
    assert distributed.device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert (distributed.size(), distributed.rank(), distributed.is_first()) == (1, 0, True)
    assert distributed.share(range(3)) == [0, 1, 2] == distributed.gather([0, 1, 2])
    assert distributed.share([]) == []
    assert distributed.highest(1, 2.5) == (1, 2.5)
    assert distributed.mean(3.0) == 3.0
    assert distributed.parallel(network) is network
    distributed.wait()


def test_two_share_gather_and_agree(tmp_path: Path) -> None:
    def work(number: int) -> None:
        distributed.join()
        assert (distributed.size(), distributed.rank(), distributed.is_first()) == (PAIR, number, number == 0)
        mine = distributed.share("abcde" if number == 0 else "other")  # the first one's counts
        assert mine == [["a", "c", "e"], ["b", "d"]][number]
        assert distributed.gather([letter.upper() for letter in mine]) == list("ABCDE")
        assert distributed.highest(number, -number) == (1, 0)
        assert distributed.mean(number + 1) == 1.5
        with pytest.raises(InputError, match=r"^1 cases for 2 processes; use at most one process per case$"):
            distributed.share(["a"])
        distributed.wait()
        (tmp_path / f"{number}.json").write_text("done")

    together(work, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["0.json", "1.json"]


def test_gradients_are_the_mean_over_both(tmp_path: Path) -> None:
    def work(number: int) -> None:
        distributed.join()
        linear = torch.nn.Linear(1, 1, bias=False)
        network = distributed.parallel(linear)
        network(torch.tensor([[1.0 + 2 * number]])).sum().backward()  # d/dw of w x is x: 1 and 3
        assert linear.weight.grad is not None
        (tmp_path / f"{number}.json").write_text(json.dumps([linear.weight.grad.item(), linear.weight.item()]))

    together(work, tmp_path)
    (one, weight), (two, same) = (json.loads((tmp_path / f"{number}.json").read_text()) for number in range(PAIR))
    assert one == two == 2.0
    assert weight == same  # each began with its own random one: the first's counts


def test_a_sampler_deals_one_order_out(tmp_path: Path) -> None:
    """Five items: each process takes three, and the first of the order comes twice."""

    def work(number: int) -> None:
        distributed.join()
        sampler = EpochSampler(range(5), seed=3)
        sampler.epoch = 4
        assert len(sampler) == 3
        (tmp_path / f"{number}.json").write_text(json.dumps(list(sampler)))

    together(work, tmp_path)
    alone = EpochSampler(range(5), seed=3)
    alone.epoch = 4
    order = [list(pair) for pair in alone]
    dealt = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(PAIR)]
    assert dealt == [order[::2], [order[1], order[3], order[0]]]


def test_one_that_waits_for_one_that_failed_ends_in_silence(tmp_path: Path) -> None:
    from pairs import begin, wait

    def work(number: int) -> None:
        distributed.join()
        if number == 0:
            raise SystemExit(2)
        distributed.wait()

    assert [wait(child, 600) for child in begin(work, tmp_path)] == [2, 1]
    assert "Traceback" not in (tmp_path / "1.log").read_text()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(InputError, match=r"there are 1 GPUs for process 2; start one process for each$"):
        distributed.device()
