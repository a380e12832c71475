"""The record of a run, tested with small real engines."""

import logging
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from engines import CASES, Do, Losses, fail, interrupt, load, run
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import (
    CheckpointSaver,
    EarlyStopHandler,
    StatsHandler,
)
from monai.losses import DiceLoss
from monai.networks.nets import UNet

from heartseg.data.files import sha256
from heartseg.errors import InputError
from heartseg.handlers import FinalValidation
from heartseg.handlers.run_summary import RunSummary
from heartseg.results.run_markdown import summary_markdown

FILES = {"curves.png", "run_summary.json", "run_summary.md", "training_metrics.json"}


@pytest.mark.parametrize("first", [False, True])
def test_history_has_every_epoch_and_no_stale_validation(tmp_path, first):
    losses = Losses()
    summary, _ = run(tmp_path, epochs=3, interval=2, handlers=[losses], first=first)
    history = load(tmp_path, "training_metrics.json")
    assert [list(row) for row in history] == [
        ["epoch", "train_loss", "val_loss", "val_dice", "learning_rate", "minutes"]
    ] * 3
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["learning_rate"] for row in history] == [0.1, 0.05, 0.025]
    for row in history:
        expected = losses.epochs[row["epoch"]]
        assert len(expected) == 6
        assert row["train_loss"] == pytest.approx(sum(expected) / 6)
        assert 0 < row["minutes"] < 10
    assert [row["val_dice"] is None for row in history] == [True, False, True]
    assert [row["val_loss"] is None for row in history] == [True, False, True]
    metrics = summary.evaluator.state.metrics
    assert history[1]["val_dice"] == pytest.approx(float(metrics["val_mean_dice"]))
    assert history[1]["val_loss"] == pytest.approx(float(metrics["val_loss"]))
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_content_of_the_summary(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    summary, trainer = run(tmp_path, info={"seed": 7, "folder": Path("data"), "batch_size": 1})
    content = load(tmp_path)
    assert content["status"] == "finished"
    assert content["stop_reason"] == "all epochs done"
    rows = load(tmp_path, "training_metrics.json")
    best = max(rows, key=lambda row: row["val_dice"])
    assert content["best"] == {
        "metric": "val_mean_dice",
        "value": best["val_dice"],
        "epoch": best["epoch"],
    }
    assert (content["epochs"], content["max_epochs"]) == (2, 2)
    assert content["minutes"] == pytest.approx(sum(row["minutes"] for row in rows))
    assert content["cases"] == {"train": 2, "val": 2}  # each is listed three times for training
    assert content["parameters"] == sum(parameter.numel() for parameter in trainer.network.parameters())
    assert content["device"].startswith("cpu")
    assert (content["precision"], content["workers"]) == ("float32", 0)
    assert content["peak_memory_gib"]["process"] > 0
    assert content["seed"] == 7
    assert content["settings"] == {"seed": 7, "folder": "data", "batch_size": 1}
    assert content["provenance"]["weights"]["sha256"] == sha256(tmp_path / "model.pt")
    text = (tmp_path / "run_summary.md").read_text(encoding="utf-8")
    assert text == summary_markdown(content, "curves.png")
    assert "| status | finished: all epochs done |" in text
    assert f"at epoch {best['epoch']} |" in text
    assert "![Curves of the run](curves.png)" in text


def test_files_are_written_after_every_epoch(tmp_path):
    seen = []

    def look(engine):
        if engine.state.epoch == 2 and not seen:
            seen.append((load(tmp_path), load(tmp_path, "training_metrics.json")))

    run(tmp_path, handlers=[Do(2, look)])
    (summary, history) = seen[0]
    assert (summary["status"], summary["stop_reason"], summary["epochs"]) == ("running", None, 1)
    assert len(history) == 1


def test_the_machine_is_logged_once(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="heartseg"):
        run(tmp_path)
    lines = [message for message in caplog.messages if message.startswith("device ")]
    assert len(lines) == 1
    assert "precision float32 | workers 0" in lines[0]


def test_early_stopping_is_recorded(tmp_path):
    stop = EarlyStopHandler(patience=1, score_function=lambda engine: 0.0)
    run(tmp_path, epochs=5, validator_handlers=[stop])
    content = load(tmp_path)
    assert (content["status"], content["stop_reason"]) == ("finished", "stopped early after epoch 2 of 5")


def test_a_stop_during_an_epoch_counts_complete_epochs(tmp_path):
    run(tmp_path, epochs=2, handlers=[Do(2, lambda engine: engine.terminate())])
    content = load(tmp_path)
    assert (content["epochs"], content["stop_reason"]) == (1, "stopped early after epoch 1 of 2")
    assert len(load(tmp_path, "training_metrics.json")) == 1


def test_the_reason_given_by_a_handler_is_recorded(tmp_path):
    def stop(engine):
        engine.state.stop_reason = "time limit of 30 minutes"
        engine.terminate()

    run(tmp_path, epochs=3, handlers=[Do(2, stop)])
    content = load(tmp_path)
    assert (content["status"], content["stop_reason"]) == ("stopped", "time limit of 30 minutes")
    assert (content["epochs"], content["max_epochs"]) == (1, 3)
    text = (tmp_path / "run_summary.md").read_text(encoding="utf-8")
    assert "| status | stopped: time limit of 30 minutes |" in text


def test_a_validation_after_a_time_limit_belongs_to_the_last_complete_epoch(tmp_path):
    def stop(engine):
        engine.state.stop_reason = "time limit of 30 minutes"
        engine.state.in_a_hurry = False
        engine.terminate()

    class ValidateLast:
        """Validates the last weights."""

        def attach(self, validator):
            self.validator = validator

        def set_trainer(self, trainer):
            FinalValidation(self.validator).attach(trainer)

    run(tmp_path, epochs=3, interval=9, handlers=[Do(2, stop)], validator_handlers=[ValidateLast()])
    (row,) = load(tmp_path, "training_metrics.json")
    assert row["epoch"] == 1 and row["val_dice"] is not None and row["val_loss"] is not None
    assert load(tmp_path)["best"]["epoch"] == 1


@pytest.mark.parametrize(
    ("action", "error", "end"),
    [
        (fail, RuntimeError, ["failed", "RuntimeError: no memory"]),
        (interrupt, KeyboardInterrupt, ["interrupted", "KeyboardInterrupt"]),
    ],
)
@pytest.mark.parametrize("others", [False, True])
def test_an_exception_is_recorded_and_propagates(tmp_path, action, error, end, others):
    """It reaches the caller with or without other handlers for exceptions, which run too."""
    net = torch.nn.Linear(1, 1)
    saver = CheckpointSaver(str(tmp_path / "saved"), {"net": net}, save_final=True, final_filename="last.pt")
    handlers = [Do(2, action), *([saver, StatsHandler(name="test_summary", iteration_log=False)] if others else [])]
    with pytest.raises(error):
        run(tmp_path, epochs=3, handlers=handlers, first=True)
    content = load(tmp_path)
    assert [content["status"], content["stop_reason"], content["epochs"]] == [*end, 1]
    assert len(load(tmp_path, "training_metrics.json")) == 1
    assert (tmp_path / "saved" / "last.pt").exists() == others


def test_a_failure_to_write_does_not_hide_the_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    def break_both(engine):
        monkeypatch.setattr("heartseg.handlers.run_summary.write_json", full)
        fail(engine)

    with pytest.raises(RuntimeError, match="no memory"):
        run(tmp_path, handlers=[Do(2, break_both)])


def test_an_unknown_key_metric_is_refused(tmp_path):
    evaluator = SimpleNamespace(state=SimpleNamespace(key_metric_name="val_mean_dise"))
    with pytest.raises(InputError, match=r"^metric dise: unknown; did you mean dice\?$"):
        RunSummary(tmp_path, evaluator)


def test_numbers_that_are_not_finite_are_null_and_listed(tmp_path, caplog):
    def spoil(engine):
        engine.state.output[0]["loss"] = torch.tensor(math.nan)

    class Spoil(Do):
        def attach(self, engine):  # between the network and the summary
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    net = UNet(3, 1, 1, channels=(2, 4), strides=(2,))
    summary = RunSummary(tmp_path)
    SupervisedTrainer(
        device="cpu",
        max_epochs=3,
        train_data_loader=DataLoader(Dataset(CASES), batch_size=2),
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        loss_function=DiceLoss(sigmoid=True),
        train_handlers=[Spoil(2, spoil), summary],
    ).run()
    assert [row["train_loss"] is None for row in load(tmp_path, "training_metrics.json")] == [False, True, False]
    content = load(tmp_path)
    assert content["not_finite"] == [2]
    assert content["best"] is None
    assert content["cases"] == {"train": 2, "val": None}
    assert "epoch 2: not a finite number: train_loss" in caplog.messages
    assert "| not a finite number | epochs 2 |" in (tmp_path / "run_summary.md").read_text(encoding="utf-8")


def test_batches_that_are_not_decollated_have_a_loss_too(tmp_path):
    net = UNet(3, 1, 1, channels=(2, 4), strides=(2,))
    engine = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(CASES), batch_size=2),
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.0),
        loss_function=DiceLoss(sigmoid=True),
        train_handlers=[RunSummary(tmp_path)],
        decollate=False,
    )
    engine.run()
    row = load(tmp_path, "training_metrics.json")[0]
    assert row["train_loss"] == pytest.approx(engine.state.output["loss"].item())


def test_a_resumed_run_keeps_its_history(tmp_path):
    summary, _ = run(tmp_path, epochs=3)
    torch.save(summary.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state == {"history": summary.history}

    net = UNet(3, 1, 1, channels=(2, 4), strides=(2,))
    again = RunSummary(tmp_path)
    again.load_state_dict(state)
    engine = SupervisedTrainer(
        device="cpu",
        max_epochs=4,
        train_data_loader=DataLoader(Dataset(CASES), batch_size=1),
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        loss_function=DiceLoss(sigmoid=True),
        train_handlers=[again],
    )
    engine.state.epoch, engine.state.iteration = 2, 4  # the checkpoint is one epoch older than the history
    engine.run()
    history = load(tmp_path, "training_metrics.json")
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[:2] == state["history"][:2]
    assert history[2] != state["history"][2]


def test_only_the_first_process_writes(tmp_path):
    net = UNet(3, 1, 1, channels=(2, 4), strides=(2,))
    engine = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(CASES), batch_size=1),
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        loss_function=DiceLoss(sigmoid=True),
        train_handlers=[RunSummary(tmp_path / "run")],
    )
    engine.state.rank = 1
    engine.run()
    assert not (tmp_path / "run").exists()


def test_markdown_rows_are_escaped(tmp_path):
    run(tmp_path, epochs=1, info={"a|b": "x|y\nz", "none": None})
    text = (tmp_path / "run_summary.md").read_text(encoding="utf-8")
    assert "| a\\|b | x\\|y z |" in text
    assert "| none | - |" in text
