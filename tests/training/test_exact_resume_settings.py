"""Settings of a resumed run: the changes that are allowed, with their effect, and those that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy import KINDS, Toy, files, kill_at_step, killed, rows_of

from heartseg.errors import OtherRunError
from heartseg.training.checkpoints import load_checkpoint, save_checkpoint


def test_a_finished_run_does_nothing_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Toy(tmp_path).run()
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    capsys.readouterr()
    for settings in ({}, {"workers": 1}, {"epochs": 3}):
        Toy(tmp_path, **settings).run()
        assert capsys.readouterr().out == f"{tmp_path}: is finished, after epoch 5; nothing to do\n"
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("now", [{"epochs": 8}, {"rate": 0.04}, {"batch": 4}], ids=["epochs", "rate", "batch"])
def test_a_changed_schedule_is_that_of_a_run_that_always_had_it(
    kind: str, now: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first resumed epoch on; scores rise, so that the plateau rule cuts nothing."""
    settings: dict[str, Any] = {"kind": kind, "interval": 1, "scores": [0.1 * epoch for epoch in range(9)]}
    for name in ("begun", "always"):
        (tmp_path / name).mkdir()
    assert killed(Toy(tmp_path / "begun", act=kill_at_step(9), **settings))
    old = [row["rate"] for row in load_checkpoint(tmp_path / "begun" / "checkpoint.pt")["state"]["summary"]["rows"]]
    Toy(tmp_path / "begun", **settings, **now).run()
    Toy(tmp_path / "always", **settings, **now).run()
    rates = [row["rate"] for row in rows_of(tmp_path / "begun")]
    expected = [row["rate"] for row in rows_of(tmp_path / "always")]
    assert rates[:2] == old and rates[2:] == expected[2:] and len(rates) == now.get("epochs", 5)
    name = {"epochs": "epochs", "rate": "learning_rate", "batch": "batch_size"}[next(iter(now))]
    was = {"epochs": 5, "rate": 0.1, "batch": 2}[next(iter(now))]
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{tmp_path / 'begun'}: resumes after epoch 2 of {now.get('epochs', 5)}"
    assert out[1:] == [f"{name}: was {was}, is {next(iter(now.values()))} now, from now on"]


def test_a_free_setting_that_changes_leaves_the_rate_as_it_was(tmp_path: Path) -> None:
    """The plateau rule has halved the rate by then: 0.1 for two epochs by StepLR, then half of it by the rule."""
    settings: dict[str, Any] = {"kind": "by epoch", "interval": 1, "scores": [0.3, 0.2, 0.4, 0.5, 0.6]}
    assert killed(Toy(tmp_path, act=kill_at_step(9), **settings))
    toy = Toy(tmp_path, decay=0.25, **settings).run()
    assert [row["rate"] for row in rows_of(tmp_path)] == [0.1, 0.1, 0.025, 0.025, 0.0125]
    assert [group["weight_decay"] for group in toy.trainer.optimizer.param_groups] == [0.25]


def test_more_epochs_go_on_after_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Toy(tmp_path).run()
    Toy(tmp_path, epochs=7).run()
    saved = load_checkpoint(tmp_path / "checkpoint.pt")
    assert (saved["epoch"], saved["finished"], len(rows_of(tmp_path))) == (7, True, 7)
    assert f"{tmp_path}: resumes after epoch 5 of 7" in capsys.readouterr().out.splitlines()


def test_fewer_epochs_than_are_done_are_refused(tmp_path: Path) -> None:
    assert killed(Toy(tmp_path, act=kill_at_step(18)))
    before = files(tmp_path)
    with pytest.raises(OtherRunError) as caught:
        Toy(tmp_path, epochs=2).run()
    said = "is of epoch 4, already the last one; raise epochs, or use another output folder"
    assert str(caught.value) == f"{tmp_path / 'checkpoint.pt'}: {said}"
    assert files(tmp_path) == before


def test_a_schedule_by_step_is_walked_by_step_where_an_epoch_was_a_single_one(tmp_path: Path) -> None:
    """Eight cases: one step of eight an epoch, then four of two. The last rate is that of the last but one step."""
    assert killed(Toy(tmp_path, batch=8, act=kill_at_step(3)))
    toy = Toy(tmp_path, batch=2).run()
    assert load_checkpoint(tmp_path / "checkpoint.pt")["finished"]
    assert toy.trainer.optimizer.param_groups[0]["lr"] == 0.0  # the polynomial is at its end after 5 x 4 steps


def test_options_of_the_optimizer_are_applied_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert killed(Toy(tmp_path, act=kill_at_step(9)))
    toy = Toy(tmp_path, options={"eps": 1e-5}).run()
    assert [group["eps"] for group in toy.trainer.optimizer.param_groups] == [1e-5]
    assert "optimizer eps: was 1e-08, is 1e-05 now, from now on" in capsys.readouterr().out.splitlines()


# What cannot change


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (
            {"width": 4},
            "network was (0): Linear(in_features=4, out_features=3, bias=True), "
            "is (0): Linear(in_features=4, out_features=4, bias=True) now; ",
        ),
        (
            {"fixed": {"classes": {"left_atrium": 1}, "spacing": [2, 2]}},
            "cannot resume with other settings: spacing was None, is [2, 2] now; ",
        ),
        (
            {"fixed": {"classes": {"myocardium": 2}, "input_size": [64, 64]}},
            "cannot resume with other settings: classes was {'left_atrium': 1}, is {'myocardium': 2} now; "
            "input_size was None, is [64, 64] now; ",
        ),
        ({"options": {"amsgrad": True}}, "cannot resume: optimizer amsgrad was False, is True now; "),
        ({"optimizer_of": torch.optim.SGD}, "is of another optimizer (only one has betas); "),
        ({"kind": "by epoch"}, "is of another lr_scheduler (only one has _schedulers); "),
    ],
    ids=["network", "spacing", "bundle", "amsgrad", "optimizer", "schedule"],
)
def test_what_cannot_change_is_refused_with_the_difference(now: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert killed(Toy(tmp_path, act=kill_at_step(14)))
    before = files(tmp_path)
    with pytest.raises(OtherRunError) as caught:
        Toy(tmp_path, **now).run()
    line = str(caught.value)
    assert said in line and "\n" not in line
    assert line.startswith(f"{tmp_path / 'checkpoint.pt'}: ")
    assert line.endswith("another output folder") or line.endswith("another folder")
    assert files(tmp_path) == before


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    save_checkpoint({"format": 0}, tmp_path / "checkpoint.pt")
    with pytest.raises(OtherRunError, match="was written by another version of heartseg; use another output folder$"):
        Toy(tmp_path).run()
