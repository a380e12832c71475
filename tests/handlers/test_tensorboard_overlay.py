"""The picture of the first validation case, read back from the event file."""

import io

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import heartseg.handlers.tensorboard_overlay as module
from heartseg.handlers.tensorboard_overlay import TensorBoardOverlay


def evaluator(handler, affine=None, channels=1, **settings):
    data = []
    for case in range(2):
        image = torch.full((1, 6, 8, 10), float(case))
        label = torch.zeros(1, 6, 8, 10)
        label[:, 2:4, 3:5, 4 + case] = channels
        if affine is not None:
            image = MetaTensor(image, affine=affine)
        data.append({"image": image, "label": label})

    class Network(torch.nn.Module):
        """Predicts foreground at index 5 and above of the last axis."""

        def forward(self, x):
            found = torch.zeros_like(x)
            found[..., 5:] = 1
            return found if channels == 1 else torch.cat([1 - found, 0 * found, found], dim=1)

    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(data), batch_size=1),
        network=Network(),
        val_handlers=[handler],
        **settings,
    )


@pytest.fixture
def drawn(monkeypatch):
    """Record the arguments of the drawing function."""
    calls = []
    draw = module.draw_case

    def record(image, masks, **settings):
        calls.append((image, masks, settings))
        return draw(image, masks, **settings)

    monkeypatch.setattr(module, "draw_case", record)
    return calls


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return events


def test_one_picture_for_each_validation(tmp_path, drawn):
    engine = evaluator(TensorBoardOverlay(log_dir=str(tmp_path)), affine=torch.diag(torch.tensor([-2.0, 3, 4, 1])))
    for epoch in (3, 6):
        engine.run(epoch)
    pictures = read(tmp_path).Images("validation")
    assert [item.step for item in pictures] == [3, 6]
    shown = np.asarray(Image.open(io.BytesIO(pictures[0].encoded_image_string)))
    assert shown.ndim == 3
    assert shown.std() > 10
    assert len(drawn) == 2
    image, masks, settings = drawn[0]
    assert image.shape == (6, 8, 10)
    assert not image.any()  # the first case, not the last
    assert masks["truth"].sum() == 4
    assert masks["prediction"].sum() == 6 * 8 * 5
    np.testing.assert_allclose(settings["spacing"], [2, 3, 4])
    assert settings["axcodes"] == "LAS"
    assert settings["title"] == "epoch 3"
    assert settings["classes"] is None


def test_a_stack_is_shown_as_slices_with_named_classes(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(SummaryWriter, "add_figure", lambda self, tag, figure, **settings: figures.append(figure))
    handler = TensorBoardOverlay(log_dir=str(tmp_path), classes={"myocardium": 1, "left_ventricle": 2})
    evaluator(handler, affine=torch.diag(torch.tensor([1.0, 1, 8, 1])), channels=2).run(1)
    titles = [axes.get_title() for axes in figures[0].axes if axes.get_title()]
    assert titles == [f"slice {number} of 10" for number in range(5, 11)]  # the truth in 5, the prediction in 6 to 10
    texts = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert texts == ["myocardium", "left ventricle", "outline of the truth"]


@pytest.mark.parametrize("decollate", [True, False])
def test_one_channel_for_each_class_becomes_a_label_map(tmp_path, drawn, decollate):
    evaluator(TensorBoardOverlay(log_dir=str(tmp_path)), channels=2, decollate=decollate).run()
    _, masks, settings = drawn[0]
    assert set(np.unique(masks["truth"])) == set(np.unique(masks["prediction"])) == {0, 2}
    np.testing.assert_array_equal(settings["spacing"], [1, 1, 1])  # no metadata
    assert settings["axcodes"] == "RAS"


def test_interval_counts_validations(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        engine = evaluator(TensorBoardOverlay(summary_writer=writer, tag="case", interval=2))
        for epoch in (5, 10, 15):
            engine.run(epoch)
    assert [item.step for item in read(tmp_path).Images("case")] == [5, 15]
