"""Settings of a resumed run: changes that are refused, and those that are applied and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import monai
import pytest
import torch

from heartseg.errors import OtherRunError
from heartseg.training.setting_changes import LONG, changed, described, format_change, redefined, say_changes

PATH = Path("run") / "checkpoint.pt"
BEFORE = {
    "fixed": {"spacing": [1.25, 1.25], "train cases": ["a", "b", "c"]},
    "schedule": {"epochs": 500, "learning_rate": 0.002},
    "free": {"num_workers": 2, "artifacts": None},
}


def now(group: str, **values: Any) -> dict[str, dict[str, Any]]:
    return {**BEFORE, group: {**BEFORE[group], **values}}


def test_nothing_changed() -> None:
    assert changed(BEFORE, BEFORE, PATH) == []


def test_what_may_change_is_listed_with_its_group() -> None:
    settings = {**now("schedule", learning_rate=0.001), "free": {"artifacts": ["noise"], "num_workers": 2}}
    assert changed(BEFORE, settings, PATH) == [
        ("schedule", "learning_rate", 0.002, 0.001),
        ("free", "artifacts", None, ["noise"]),
    ]


def test_settings_that_one_of_them_does_not_have_differ() -> None:
    without = {**BEFORE, "free": {"artifacts": None}}
    assert changed(BEFORE, without, PATH) == [("free", "num_workers", 2, None)]
    assert changed(without, BEFORE, PATH) == [("free", "num_workers", None, 2)]


def test_a_knob_that_moved_to_another_heading_is_compared_by_its_name() -> None:
    moved = {**BEFORE, "schedule": {**BEFORE["schedule"], "num_workers": 2}, "free": {"artifacts": None}}
    assert changed(BEFORE, moved, PATH) == []
    moved["schedule"]["num_workers"] = 3
    assert changed(BEFORE, moved, PATH) == [("schedule", "num_workers", 2, 3)]


def test_what_is_fixed_is_refused_in_one_line_with_both_values() -> None:
    settings = {**now("fixed", spacing=[2.0, 2.0]), "schedule": {"epochs": 1}}
    with pytest.raises(OtherRunError) as caught:
        changed(BEFORE, settings, PATH)
    assert str(caught.value) == (
        f"{PATH}: cannot resume with other settings: spacing was [1.25, 1.25], is [2.0, 2.0] now; "
        "set it back, or use another folder"
    )


def test_of_cases_only_those_that_differ_are_named() -> None:
    with pytest.raises(OtherRunError) as caught:
        changed(BEFORE, now("fixed", **{"train cases": ["a", "d", "c"]}), PATH)
    assert "other settings: train cases was with b, is with d now; " in str(caught.value)
    assert format_change(["a", "b"], ["b"]) == "with a, is with none of them now"


def test_a_long_value_is_cut() -> None:
    names = [f"case_{number:03}" for number in range(100)]
    line = format_change(names, [])
    first = line.removeprefix("with ").partition(", is with ")[0]
    assert first.startswith("case_000, case_001, ") and first.endswith("...") and len(first) == LONG


def test_each_change_is_reported_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    say_changes([("schedule", "learning_rate", 0.002, 0.001), ("free", "artifacts", None, ["noise", "blur"])])
    assert capsys.readouterr().out.splitlines() == [
        "learning_rate: was 0.002, is 0.001 now, from now on",
        "artifacts: was None, is noise, blur now, from now on",
    ]


def test_of_a_network_the_first_layer_that_differs_is_shown() -> None:
    old, new = (str(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(p))) for p in (0.1, 0.5))
    assert format_change(old, new) == "(1): Dropout(p=0.1, inplace=False), is (1): Dropout(p=0.5, inplace=False) now"


def test_a_different_schedule_is_reported() -> None:
    """Its counters, and values derived from settings that are compared anyway, are not reported."""
    optimizers = [torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=rate) for rate in (0.1, 0.2)]
    schedules = [
        torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=power)
        for optimizer, steps, power in zip(optimizers, (5, 9), (0.9, 3.0), strict=True)
    ]
    before = {"optimizer": optimizers[0].state_dict(), "schedule": schedules[0].state_dict()}
    now = {"optimizer": optimizers[1], "schedule": schedules[1]}
    assert redefined(before, now, PATH) == [("schedule", "schedule power", 0.9, 3.0)]


def test_a_loss_with_other_options_is_reported() -> None:
    old, new = (described(monai.losses.DiceCELoss(softmax=True, batch=batch)) for batch in (True, False))
    assert described(monai.losses.DiceCELoss(softmax=True, batch=True)) == old
    assert "dice: DiceLoss(" in old and "softmax=True" in old and "batch=True" in old
    [(group, name, *values)] = changed({"free": {"loss": old}}, {"free": {"loss": new}}, PATH)
    assert (group, name, format_change(*values)) == ("free", "loss", "batch=True, is batch=False now")
