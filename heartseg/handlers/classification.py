"""Handler that evaluates a classifier, case by case."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_average_precision, compute_roc_auc

from heartseg.errors import InputError
from heartseg.handlers.evaluation import CaseResults
from heartseg.metrics.case_metrics import mean_metrics

CURVES = {"auroc": compute_roc_auc, "auprc": compute_average_precision}
OF_A_CASE = ("accuracy", "log_loss")
SMALLEST = 1e-7  # a probability of 0 would make the log loss infinite


class ClassificationMetrics(CaseResults):
    """`CaseResults` of a classifier: AUROC and AUPRC of each class, accuracy and log loss of each case.

    Attach it to an evaluator whose postprocessed ``pred`` holds the probability of each class, ``[classes]``, with the
    truth under ``label``: the index of the one class that is true, or ``[classes]`` of 0 and 1 where several may be.

    AUROC and AUPRC (average precision) of a class are null if all cases belong to it, or none. A case's ``accuracy``
    is 1 or 0, or the share of classes on the right side of one half; its ``log_loss`` is that of the true class, or
    the mean binary cross-entropy over the classes.

    Args:
        output_dir, weights, settings: see `CaseResults`.
        classes: names, in the order of the network's outputs.
    """

    columns = ("probability", "label")
    about = OF_A_CASE

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        classes: Sequence[str],
        weights: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(output_dir, weights, settings)
        self.classes = list(classes)

    def measure(self, entry: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
        """Return accuracy, log loss, and probability and label of each class. InputError if their numbers differ."""
        probability = torch.as_tensor(item["pred"]).double().flatten().cpu()
        label = torch.as_tensor(item["label"]).flatten().cpu()
        single = label.numel() == 1 < len(self.classes)
        truth = torch.zeros(len(self.classes)).double()
        if single:
            truth[int(label)] = 1
        elif label.numel() == len(self.classes):
            truth = label.double()
        if probability.numel() != len(self.classes) or (not single and label.numel() != len(self.classes)):
            sizes = f"{probability.numel()} probabilities and {label.numel()} labels"
            raise InputError(f"{entry['id']}: has {sizes} for {len(self.classes)} classes; name each output once")
        bounded = probability.clamp(SMALLEST, 1 - SMALLEST)
        losses = -torch.where(truth > 0.5, bounded, 1 - bounded).log()
        correct = (probability > 0.5) == (truth > 0.5)
        return {
            "accuracy": float(probability.argmax() == truth.argmax()) if single else float(correct.double().mean()),
            "log_loss": float(losses[truth.argmax()] if single else losses.mean()),
            "classes": {
                name: {"probability": float(p), "label": int(t)}
                for name, p, t in zip(self.classes, probability, truth, strict=True)
            },
        }

    def means(self, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the mean accuracy and log loss, and AUROC and AUPRC of each class and their means over classes."""
        classes = {name: _curves([case["classes"][name] for case in cases]) for name in self.classes}
        return {
            **mean_metrics(list(classes.values()), tuple(CURVES)),
            **mean_metrics(cases, OF_A_CASE),
            "missing": sum(row["auroc"] is None for row in classes.values()),
            "classes": classes,
        }


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    label = torch.tensor([row["label"] for row in rows])
    if len(label.unique()) < 2:
        return dict.fromkeys(CURVES)
    score = torch.tensor([row["probability"] for row in rows], dtype=torch.float64)
    return {name: np.asarray(curve(score, label)).item() for name, curve in CURVES.items()}
