"""Curves of a training run."""

import numpy as np
import pytest

from heartseg.metrics.table import TABLE
from heartseg.report.figures import GREEN, VERMILION
from heartseg.report.training_curves import best_epoch, draw_curves

DICE = TABLE["dice"]


def row(epoch, train=1.0, loss=None, dice=None, rate=0.001):
    return {
        "epoch": epoch,
        "train_loss": train,
        "val_loss": loss,
        "val_dice": dice,
        "learning_rate": rate,
        "minutes": 0.5,
    }


def test_best_epoch_is_the_first_of_the_highest():
    history = [row(1, dice=0.5), row(2), row(3, dice=0.7), row(4, dice=float("nan")), row(5, dice=0.7)]
    assert best_epoch(history, DICE) == 3
    assert best_epoch([row(1)], DICE) is None
    assert best_epoch([], DICE) is None


def test_curves_leave_gaps_and_mark_the_best_epoch():
    figure = draw_curves([row(1, dice=0.5), row(2), row(3, dice=0.7), row(4, dice=0.6)], DICE)
    dice = figure.axes[1]
    solid = next(line for line in dice.lines if line.get_label() == "validation")
    assert solid.get_color() == GREEN
    np.testing.assert_array_equal(solid.get_ydata(), [0.5, np.nan, 0.7, 0.6])
    star = next(line for line in dice.lines if line.get_marker() == "*")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([3], [0.7])
    assert star.get_color() == VERMILION
    for axes in figure.axes:
        assert any(line.get_label().startswith("best epoch: 3") for line in axes.lines)
    assert figure.get_suptitle() == "4 epochs, 2.0 minutes"


def test_curves_without_validation_show_what_there_is():
    figure = draw_curves([row(1, train=float("nan")), row(2, train=2.0)], DICE)
    losses, dice, _ = figure.axes
    np.testing.assert_array_equal(losses.lines[-1].get_ydata(), [np.nan, 2.0])
    assert not dice.lines
    assert dice.get_legend() is None


@pytest.mark.parametrize(("last", "scale"), [(0.0001, "log"), (0.0005, "linear")])
def test_learning_rate_is_logarithmic_over_a_decade(last, scale):
    figure = draw_curves([row(1), row(2, rate=last)], DICE)
    assert figure.axes[2].get_yscale() == scale


def test_another_key_metric_is_drawn_under_its_own_name():
    history = [{**row(1), "val_log_loss": 0.7}, {**row(2), "val_log_loss": 0.4}, {**row(3), "val_log_loss": 0.5}]
    figure = draw_curves(history, TABLE["log_loss"])
    assert best_epoch(history, TABLE["log_loss"]) == 2  # lower is better
    assert figure.axes[1].get_title() == "log loss"
    assert any(line.get_label() == "best epoch: 2, log loss 0.400" for line in figure.axes[1].lines)
