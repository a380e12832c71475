"""Every knob of the ventricles' training stands on top of train.yaml and reaches what it is named for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_bundle import ids
from monai.handlers import ValidationHandler

from heartseg.artifacts import RandMRIArtifactsd
from heartseg.config.bundles import find_bundle
from heartseg.errors import input_error
from heartseg.handlers import GradientClipping

Get = Callable[[str], Any]
TRAIN = find_bundle("ventricles") / "configs" / "train.yaml"
SMALL = {"spacing": [6, 6], "input_size": [32, 32]}  # whoever must be quick


def handler(get: Get, kind: type) -> Any:
    (found,) = [one for one in get("train::handlers") if isinstance(one, kind)]
    return found


def artifacts(get: Get) -> Any:
    (found,) = [one for one in get("train::random_transforms").transforms if isinstance(one, RandMRIArtifactsd)]
    return found


# For each knob a value that is not the YAML's, and where it must arrive.
KNOBS: dict[str, tuple[Any, Callable[[Get], Any]]] = {
    "epochs": (4, lambda get: get("train::trainer").state.max_epochs),
    "batch_size": (3, lambda get: get("train::dataloader").batch_size),
    "accumulation": (2, lambda get: get("train::trainer").accumulation_steps),
    "learning_rate": (0.03, lambda get: get("optimizer").param_groups[0]["initial_lr"]),
    "weight_decay": (0.5, lambda get: get("optimizer").param_groups[0]["weight_decay"]),
    "clipping": (0.25, lambda get: handler(get, GradientClipping).max_norm),
    "label_smoothing": (0.2, lambda get: get("loss").cross_entropy.label_smoothing),
    "cycles": (3, lambda get: -(-(get("total_steps") - get("warmup")) // get("lr_scheduler")._schedulers[1].T_0)),
    "num_workers": (1, lambda get: get("train::dataloader").num_workers),
    "prefetch": (5, lambda get: get("train::dataloader").prefetch_factor),
    "patience": (2, lambda get: get("validate::early_stop").patience),
    "validation_share": (0.5, lambda get: len(get("cases::val")) / 8),  # of four patients with two frames each
    "val_interval": (3, lambda get: handler(get, ValidationHandler).interval),
    "input_size": ([32, 48], lambda get: list(get("train::dataset")[0]["image"].shape[1:])),
    "artifact_probability": (0.75, lambda get: artifacts(get).prob),
    "artifacts": (
        ["ghosting"],
        lambda get: [type(one).__name__[4:].lower() for one in artifacts(get).transform.transforms],
    ),
    "bfloat16": (True, lambda get: get("train::inferer").enabled),
    "spike_threshold": (20, lambda get: get("despiking").threshold),
    "slices_per_frame": (6, lambda get: len(get("train::dataset")) / len(get("cases::train"))),
}


@pytest.fixture(scope="module")
def changed(parts: Callable[..., Get]) -> Get:
    """A training with all of them changed."""
    return parts(**{**SMALL, **{knob: value for knob, (value, _) in KNOBS.items()}})


@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_stands_on_top_and_acts(knob: str, changed: Get) -> None:
    value, look = KNOBS[knob]
    assert ids(TRAIN)[knob] != value  # else nothing is seen
    assert look(changed) == value


def test_the_knobs_that_others_test_stand_on_top_too() -> None:
    """Check the knobs that the house rules require of every training, and those that other tests change."""
    house = {"dataset_dir", "output_dir", "fold", "seed", "amp"}
    assert house | {"channels_last", "cudnn_benchmark", "split_file", "initial_weights"} <= set(ids(TRAIN))


def test_a_batch_has_the_size_and_the_slices_that_were_asked_for(changed: Get) -> None:
    """Through a worker, as a run does it."""
    batch = next(iter(changed("train::dataloader")))
    assert batch["image"].shape == (3, 3, 32, 48) and batch["image"].dtype == torch.float32
    assert batch["label"].shape == (3, 1, 32, 48) and set(batch["label"].unique().tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize(("share", "folds"), [(0.25, 4), (0.125, 8), (0.2, 5), (0.1, 10), (0.5, 2)])
def test_a_share_of_the_patients_validates(share: float, folds: int, parts: Callable[..., Get]) -> None:
    assert parts(validation_share=share)("folds") == folds


@pytest.mark.parametrize("share", [0.9, 0.0, -0.25, 1.5, True])
def test_a_share_that_leaves_none_to_train_with_is_refused(share: Any, parts: Callable[..., Get]) -> None:
    with pytest.raises(Exception) as info:  # MONAI wraps it
        parts(validation_share=share)("cases::train")
    assert str(input_error(info.value)).partition("validation_share: ")[2].startswith(f"{share!r} is n")


def test_without_workers_nothing_is_fetched_ahead(parts: Callable[..., Get]) -> None:
    loader = parts(**SMALL, num_workers=0)("train::dataloader")
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (0, None, False)


@pytest.mark.parametrize(
    ("amp", "device", "half"), [(True, "cuda", True), (True, "cpu", False), (False, "cuda", False)]
)
def test_precision(amp: bool, device: str, half: bool, parts: Callable[..., Get]) -> None:
    """Half precision where it is asked for and there is a GPU; validation computes as training does."""
    get = parts(amp=amp, device=device)
    assert get("train::trainer::amp") is get("validate::evaluator::amp") is half


@pytest.mark.parametrize("last", [True, False])
def test_memory_format(last: bool, parts: Callable[..., Get]) -> None:
    get = parts(**SMALL, channels_last=last, batch_size=2)
    (weight,) = [w for name, w in get("network").named_parameters() if name == "model.0.conv.unit1.conv.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last) is last
    trainer = get("train::trainer")
    batch = next(iter(trainer.data_loader))
    image, _ = trainer.prepare_batch(batch, "cpu", False, **trainer.to_kwargs)
    assert image.is_contiguous(memory_format=torch.channels_last) is last


def rates(get: Get) -> list[float]:
    """The learning rate of every step, as the trainer's handler takes them."""
    optimizer, scheduler, found = get("optimizer"), get("lr_scheduler"), []
    for _ in range(get("total_steps")):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cycles_bring_the_learning_rate_back_to_its_peak(parts: Callable[..., Get]) -> None:
    # Three patients train: 6 frames of 2 slices, 3 batches of 4 an epoch, 12 in all; 2 of them warm up.
    some = {**SMALL, "epochs": 4, "slices_per_frame": 2, "batch_size": 4, "warmup_steps": 2, "learning_rate": 0.5}
    once, twice = rates(parts(**some)), rates(parts(**some, cycles=2))
    for found, peaks in ((once, [2]), (twice, [2, 7])):  # 10 steps are left: one cycle of 10, two of 5
        assert len(found) == 12
        assert [step for step, rate in enumerate(found) if rate == pytest.approx(0.5)] == peaks
        falls = [a > b for a, b in zip(found[2:], found[3:], strict=False)]
        assert falls == [step + 1 not in peaks for step in range(2, 11)]
    assert once[0] == twice[0] == pytest.approx(0.005)  # a hundredth
    assert twice[4] == pytest.approx(0.25 * (1 + torch.cos(torch.tensor(2 * torch.pi / 5)).item()))
