# ruff: noqa: E501 - lines of YAML
"""A third bundle, of another kind, is its own folder: a 2D classifier of pictures works by its path alone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import start, wait, when
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

KNOBS = """
imports: [$import heartseg, $import pathlib, $import sys]
_paths_: where data and results are
bundle_root: .
dataset_dir: data
output_dir: run
device: cpu
_split_: which pictures train
seed: 1
fold: 0
folds: 3
_weights_: what weights are used with
size: [16, 16]
_free_: the rest
num_workers: 0
"""

PICTURES = """
pictures: "$[{'id': p.stem, 'image': str(p), 'label': int(p.stem[-1]), 'patient': p.stem} for p in sorted(pathlib.Path(@dataset_dir).glob('*.png'))]"
network_def: {_target_: monai.networks.nets.Classifier, in_shape: "$[1, *@size]", classes: 2, channels: [4, 8], strides: [2, 2]}
preprocessing:
  _target_: monai.transforms.Compose
  transforms:
  - {_target_: monai.transforms.LoadImaged, keys: image, reader: PILReader, ensure_channel_first: true, image_only: true}
  - {_target_: monai.transforms.ScaleIntensityd, keys: image}
  - {_target_: monai.transforms.Resized, keys: image, spatial_size: "@size"}
postprocessing: {_target_: monai.transforms.Activationsd, keys: pred, softmax: true}
inferer: {_target_: monai.inferers.SimpleInferer}
"""

INFERENCE = f"""# Discs in pictures: a classifier.
{KNOBS}
weights: model.pt
_system_: the rest
{PICTURES}
network: $heartseg.networks.load_weights(@network_def, @weights)
dataset: {{_target_: monai.data.Dataset, data: "@pictures", transform: "@preprocessing"}}
dataloader: {{_target_: monai.data.DataLoader, dataset: "@dataset", batch_size: 4}}
handlers: []
evaluator:
  _target_: monai.engines.SupervisedEvaluator
  device: "@device"
  val_data_loader: "@dataloader"
  network: "@network"
  inferer: "@inferer"
  postprocessing: "@postprocessing"
  val_handlers: "@handlers"
initialize: [$heartseg.errors.readable_errors(), $heartseg.config.check_knobs()]
inference: [$@evaluator.run()]
run: "%inference"
"""

EVALUATE = """# Over inference.yaml: every picture, evaluated.
_evaluation_: what is evaluated
split: all
_system_of_evaluation_: the rest
folds_of: "$heartseg.data.split_cases(@pictures, @fold, @folds, @seed)"
dataset: {_target_: monai.data.Dataset, data: "$@folds_of[1] if @split == 'val' else @pictures", transform: "@preprocessing"}
handlers:
- {_target_: heartseg.handlers.ClassificationMetrics, output_dir: "@output_dir", classes: [empty, disc], weights: "@weights", settings: "$heartseg.config.settings()"}
evaluating: [$@evaluator.run()]
run: "%evaluating"
"""

TRAIN = """# Discs in pictures: training.
imports: [$import heartseg, $import pathlib, $import sys]
_paths_: where data and results are
bundle_root: .
dataset_dir: data
output_dir: run
device: cpu
_split_: which pictures train
seed: "%configs/inference.yaml::seed"
fold: "%configs/inference.yaml::fold"
folds: "%configs/inference.yaml::folds"
_weights_: what weights are used with
size: "%configs/inference.yaml::size"
_schedule_: the course of the learning rate
epochs: 6            # [> 0] passes over the pictures
batch_size: 4        # [> 0] pictures
learning_rate: 0.02  # [> 0] of Adam, falls to 0
_free_: the rest
val_interval: 1      # [> 0] epochs between validations
patience: 20         # [> 0] validations
noise: 0.05          # standard deviation
num_workers: 0
max_minutes: null
_system_: the rest
pictures: "%configs/inference.yaml::pictures"
network_def: "%configs/inference.yaml::network_def"
preprocessing: "%configs/inference.yaml::preprocessing"
split: "$heartseg.data.split_cases(@pictures, @fold, @folds, @seed)"
cases: {train: "$@split[0]", val: "$@split[1]"}
network: $@network_def
optimizer: {_target_: torch.optim.Adam, params: $@network.parameters(), lr: "@learning_rate"}
lr_scheduler: {_target_: torch.optim.lr_scheduler.LinearLR, optimizer: "@optimizer", start_factor: 1.0, end_factor: 0.0, total_iters: "@epochs"}
writer: {_target_: torch.utils.tensorboard.SummaryWriter, log_dir: "$@output_dir + '/tensorboard'"}
train:
  preprocessing: "$monai.transforms.Compose([*@preprocessing.transforms, monai.transforms.RandGaussianNoised('image', prob=1.0, std=@noise)])"
  dataset: {_target_: heartseg.training.SeededCacheDataset, seed: "@seed", data: "@cases::train", transform: "@train::preprocessing", progress: false}
  sampler: {_target_: heartseg.training.EpochSampler, dataset: "@train::dataset", seed: "@seed"}
  dataloader: {_target_: monai.data.DataLoader, dataset: "@train::dataset", sampler: "@train::sampler", batch_size: "@batch_size", num_workers: "@num_workers"}
  inferer: {_target_: monai.inferers.SimpleInferer}
  summary:
    _target_: heartseg.handlers.RunSummary
    output_dir: "@output_dir"
    evaluator: "@validate::evaluator"
    info: "$dict(heartseg.config.settings(), command=' '.join(sys.argv))"
  handlers:
  - {_target_: monai.handlers.LrScheduleHandler, lr_scheduler: "@lr_scheduler", print_lr: false}
  - {_target_: monai.handlers.ValidationHandler, validator: "@validate::evaluator", interval: "@val_interval"}
  - {_target_: monai.handlers.TensorBoardStatsHandler, summary_writer: "@writer", tag_name: train_loss, output_transform: "$monai.handlers.from_engine('loss', first=True)"}
  - {_target_: heartseg.handlers.TensorBoardRun, summary_writer: "@writer", input_shape: "$[1, 1, *@size]"}
  trainer:
    _target_: monai.engines.SupervisedTrainer
    max_epochs: "@epochs"
    device: "@device"
    train_data_loader: "@train::dataloader"
    network: "@network"
    loss_function: {_target_: torch.nn.CrossEntropyLoss}
    optimizer: "@optimizer"
    train_handlers: "$[@train::summary, *@train::handlers]"
validate:
  early_stop: {_target_: heartseg.handlers.ResumableEarlyStop, patience: "@patience", score_function: "$monai.handlers.stopping_fn_from_metric('val_auroc')"}
  dataset: {_target_: monai.data.Dataset, data: "@cases::val", transform: "@preprocessing"}
  evaluator:
    _target_: monai.engines.SupervisedEvaluator
    device: "@device"
    val_data_loader: {_target_: monai.data.DataLoader, dataset: "@validate::dataset", batch_size: 1}
    network: "@network"
    postprocessing:
      _target_: monai.transforms.Compose
      transforms:
      - {_target_: monai.transforms.Activationsd, keys: pred, softmax: true}
      - {_target_: monai.transforms.AsDiscreted, keys: label, to_onehot: 2}
    key_val_metric:
      val_auroc: {_target_: monai.handlers.ROCAUC, output_transform: "$monai.handlers.from_engine(['pred', 'label'])"}
    val_handlers:
    - "@validate::early_stop"
    - {_target_: monai.handlers.TensorBoardStatsHandler, summary_writer: "@writer", iteration_log: false}
resume:
  _target_: heartseg.training.ExactResume
  output_dir: "@output_dir"
  seed: "@seed"
  validator: "@validate::evaluator"
  weights: "@network"
  state: {network: "@network", optimizer: "@optimizer", lr_scheduler: "@lr_scheduler", early_stop: "@validate::early_stop", summary: "@train::summary"}
  sampler: "@train::sampler"
  knobs: $heartseg.config.knobs()
  cases: "@cases"
  by_epoch: true
  max_minutes: "@max_minutes"
initialize:
- $heartseg.errors.readable_errors()
- $heartseg.config.check_knobs()
- $heartseg.training.new_run(@output_dir, @cases::train, @cases::val)
- $monai.utils.set_determinism(@seed)
training: [$@validate::early_stop.set_trainer(@train::trainer), $@resume.run(@train::trainer)]
run: "%training"
"""

LOGGING = "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n[logger_root]\nlevel=WARNING\nhandlers=\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("third") / "discs"
    texts = {
        "inference.yaml": INFERENCE,
        "evaluate.yaml": EVALUATE,
        "train.yaml": TRAIN,
        "quick.yaml": "# Over train.yaml: two epochs.\nepochs: 2\n",
        "wide.yaml": "# Over train.yaml and inference.yaml: larger pictures.\nsize: [24, 24]\n",
        "metadata.json": "{}",
        "logging.conf": LOGGING,
    }
    (folder / "configs").mkdir(parents=True)
    for name, text in texts.items():
        (folder / "configs" / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen noisy pictures; in every other one there is a disc."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:20, :20]
    for number in range(18):
        x, y = random.uniform(6, 14, 2)
        disc = (number % 2) * 60.0 * ((rows - x) ** 2 + (columns - y) ** 2 < 16)
        picture = np.clip(random.normal(100, 30, (20, 20)) + disc, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"picture{number:02}_{number % 2}.png")
    return folder


@pytest.fixture(scope="module")
def whole(bundle: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    log = run.with_suffix(".log")
    assert wait(start(["train", bundle, "--data", data, "--out", run], log)) == 0, log.read_text()
    return run


def outcome(run: Path) -> dict[str, Any]:
    """Weights to the bit, and the history without its times."""
    states = {name: torch.load(run / name, weights_only=True) for name in ("model.pt", "final.pt")}
    history = json.loads((run / "training_metrics.json").read_text())
    return {
        **{name: {key: value.numpy().tobytes() for key, value in state.items()} for name, state in states.items()},
        "history": [{key: value for key, value in row.items() if key != "minutes"} for row in history],
    }


def test_it_trains_and_keeps_its_key_metric_under_its_own_name(whole: Path) -> None:
    history = json.loads((whole / "training_metrics.json").read_text())
    assert list(history[-1]) == ["epoch", "train_loss", "val_loss", "val_auroc", "learning_rate", "minutes"]
    summary = json.loads((whole / "run_summary.json").read_text())
    assert summary["best"]["metric"] == "val_auroc"
    assert summary["best"]["value"] == max(row["val_auroc"] for row in history)
    assert summary["settings"]["size"] == [16, 16] and summary["settings"]["noise"] == 0.05
    assert "| best | val_auroc " in (whole / "run_summary.md").read_text()


def test_tensorboard_has_loss_and_auroc(whole: Path) -> None:
    events = EventAccumulator(str(whole / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"train_loss", "val_auroc", "learning_rate"} <= set(tags["scalars"]) and tags["graph"]
    assert len(events.Scalars("val_auroc")) == 6


def test_killed_and_resumed_it_ends_the_same(bundle: Path, data: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", bundle, "--data", data, "--out", run, "--set", "num_workers=0"]
    child = start(words, tmp_path / "log")
    assert when(child, (run / "checkpoint.pt").exists), (tmp_path / "log").read_text()
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    assert wait(start(words, tmp_path / "log")) == 0, (tmp_path / "log").read_text()
    assert "resumes after epoch " in (tmp_path / "log").read_text()
    assert outcome(run) == outcome(whole)


def test_a_changed_knob_is_compared(
    bundle: Path, data: Path, whole: Path, heartseg: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, err = heartseg("train", bundle, "--data", data, "--out", whole, "--overlay", "wide")
    assert status == 2 and "size was [16, 16], is [24, 24] now; " in err
    status, _, err = heartseg("train", bundle, "--data", data, "--out", whole, "--set", "batch_size=0")
    assert (status, err.splitlines()[-1]) == (
        2,
        "heartseg: --set batch_size: 0 is not a positive number, as in batch_size=4",
    )


def test_it_is_evaluated_and_compared(
    bundle: Path, data: Path, whole: Path, tmp_path: Path, heartseg: Callable[..., tuple[int, str, str]]
) -> None:
    for weights in ("model.pt", "final.pt"):
        words = ["evaluate", bundle, "--data", data, "--weights", whole / weights, "--split", "val"]
        status, out, err = heartseg(*words, "--out", tmp_path / weights)
        assert status == 0, err
        assert "AUROC" in out
    results = json.loads((tmp_path / "model.pt" / "evaluation_results.json").read_text())
    assert results["provenance"]["size"] == [16, 16]
    clean = results["clean"]
    assert len(clean["cases"]) == 6 and clean["averaged_over"] == {"cases": 6, "seen": False}
    best = json.loads((whole / "run_summary.json").read_text())["best"]["value"]
    assert clean["auroc"] == pytest.approx(best)

    folders = [tmp_path / weights for weights in ("model.pt", "final.pt")]
    status, out, err = heartseg("compare", *folders, "--out", tmp_path / "comparison", "--metric", "log_loss")
    assert status == 0, err
    assert "log loss of 6 unseen cases" in out and (tmp_path / "comparison" / "comparison.png").is_file()
    compared = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert list(compared["conditions"]["clean"]["metrics"]) == ["accuracy", "log_loss"]


def test_a_run_hands_its_knobs_to_an_evaluation(
    bundle: Path, data: Path, tmp_path: Path, heartseg: Callable[..., tuple[int, str, str]]
) -> None:
    words = ["train", bundle, "--data", data, "--out", tmp_path / "run", "--overlay", "wide", "--overlay", "quick"]
    assert heartseg(*words)[0] == 0
    words = ["evaluate", bundle, "--data", data, "--run", tmp_path / "run", "--out", tmp_path / "eval"]
    assert heartseg(*words)[0] == 0
    results = json.loads((tmp_path / "eval" / "evaluation_results.json").read_text())
    assert results["provenance"]["size"] == [24, 24]


def test_a_classifier_is_not_asked_for_masks(bundle: Path, heartseg: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    status, _, said = heartseg("segment", bundle, tmp_path / "scan.nii.gz", "--out", tmp_path / "masks")
    wanted = f"heartseg: {bundle}: cannot write masks: inference.yaml has no classes; use heartseg evaluate\n"
    assert (status, said) == (2, wanted)
