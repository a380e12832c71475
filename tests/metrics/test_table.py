"""The table of metrics: what is found in it, and what is refused."""

import pytest

from heartseg.errors import InputError
from heartseg.metrics.table import TABLE, find_metric, key_metric, metrics_in


def test_labels_carry_their_unit():
    assert (TABLE["hd95"].title, TABLE["dice"].title) == ("HD95 in mm", "Dice")


@pytest.mark.parametrize("name", ["val_mean_dice", "val_dice", "mean_dice", "dice"])
def test_the_key_metric_of_an_evaluator(name):
    assert key_metric(name) is TABLE["dice"]


def test_names_that_are_not_known():
    with pytest.raises(InputError, match=r"^metric aurox: unknown; did you mean auroc\?$"):
        key_metric("val_aurox")
    with pytest.raises(InputError, match=r"^metric nsd: unknown; there are: dice, hd95$"):
        find_metric("nsd", ["hd95", "dice", "pred_ml"])


def test_metrics_come_in_the_order_of_the_table():
    assert [metric.name for metric in metrics_in(["id", "nsd", "dice", "hd95"])] == ["dice", "hd95", "nsd"]
