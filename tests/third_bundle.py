# ruff: noqa: E501 - lines of YAML
"""A bundle of another kind, written from nothing: a 2D classifier of pictures with two overlays."""

from __future__ import annotations

from pathlib import Path

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


def write_bundle(folder: Path) -> Path:
    """Write the bundle's configurations into a new folder and return it."""
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
