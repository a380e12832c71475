"""The table of metrics: lookups and errors."""

import pytest

from heartseg.errors import InputError
from heartseg.metrics.table import TABLE, find_metric, key_metric, metrics_in


def test_titles_hold_the_unit():
    assert (TABLE["hd95"].title, TABLE["dice"].title) == ("HD95 in mm", "Dice")


@pytest.mark.parametrize("name", ["val_mean_dice", "val_dice", "mean_dice", "dice"])
def test_the_key_metric_of_an_evaluator(name):
    assert key_metric(name) is TABLE["dice"]


def test_unknown_names():
    with pytest.raises(InputError, match=r"^metric aurox: unknown; did you mean auroc\?$"):
        key_metric("val_aurox")
    with pytest.raises(InputError, match=r"^metric nsd: unknown; there are: dice, hd95$"):
        find_metric("nsd", ["hd95", "dice", "pred_ml"])


def test_metrics_are_in_the_order_of_the_table():
    assert [metric.name for metric in metrics_in(["id", "nsd", "dice", "hd95"])] == ["dice", "hd95", "nsd"]
