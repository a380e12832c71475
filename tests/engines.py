"""Small real engines with a `RunSummary`, for tests of it."""

import json
from pathlib import Path

import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import (
    IgniteMetricHandler,
    MeanDice,
    ValidationHandler,
    from_engine,
)
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import AsDiscreted, Compose, CopyItemsd

from heartseg.handlers.run_summary import RunSummary

CASES = [{"image": torch.full((1, 8, 8, 8), float(case)), "label": torch.ones(1, 8, 8, 8) * case} for case in (0, 1)]


def load(folder, name="run_summary.json"):
    def refuse(word):
        raise AssertionError(f"{name} holds {word}")

    return json.loads((Path(folder) / name).read_text(encoding="utf-8"), parse_constant=refuse)


def evaluator(net, handlers=(), **settings):
    postprocessing = [
        CopyItemsd(keys="pred", names="logits"),
        AsDiscreted(keys="pred", threshold=0.0),
    ]
    loss = DiceLoss(sigmoid=True)
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(CASES), batch_size=1),
        network=net,
        postprocessing=Compose(postprocessing),
        key_val_metric={"val_mean_dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
        additional_metrics={
            "val_loss": IgniteMetricHandler(
                loss_fn=lambda pred, label: loss(pred[0][None], label[0][None]),
                output_transform=from_engine(["logits", "label"]),
            )
        },
        val_handlers=list(handlers),
        **settings,
    )


def run(folder, epochs=2, interval=1, handlers=(), first=False, validator_handlers=(), **settings):
    """Train; return the summary handler and the trainer. `first`: list it before the ValidationHandler."""
    torch.manual_seed(0)
    net = UNet(3, 1, 1, channels=(2, 4), strides=(2,))
    validator = evaluator(net, validator_handlers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    summary = RunSummary(folder, evaluator=validator, **settings)
    validation = ValidationHandler(interval, validator)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(Dataset(CASES * 3), batch_size=1),
        network=net,
        optimizer=optimizer,
        loss_function=DiceLoss(sigmoid=True),
        train_handlers=[*((summary, validation) if first else (validation, summary)), *handlers],
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: schedule.step())
    for handler in validator_handlers:
        handler.set_trainer(trainer)
    trainer.run()
    return summary, trainer


class Losses:
    """An independent record of every loss of every epoch."""

    def __init__(self):
        self.epochs = {}

    def attach(self, engine):
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine):
        self.epochs.setdefault(engine.state.epoch, []).append(float(engine.state.output[0]["loss"]))


class Do:
    """Calls a function after every iteration of one epoch."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def attach(self, engine):
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine):
        if engine.state.epoch == self.epoch:
            self.action(engine)


def fail(engine):
    raise RuntimeError("no memory\nwith details")


def interrupt(engine):
    raise KeyboardInterrupt
