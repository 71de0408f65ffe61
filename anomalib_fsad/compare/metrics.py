# SPDX-License-Identifier: Apache-2.0
"""What is reported of a set of scores, by anomalib's and torchmetrics' own metrics."""

import math
from typing import Any, NamedTuple

import torch
from anomalib.metrics import AUPRO, AUROC, F1Max
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_average_precision,
    binary_f1_score,
    binary_specificity_at_sensitivity,
)

MIN_RECALL = 0.95


class Scored(NamedTuple):
    """What anomalib's metrics read of a batch."""

    pred_score: Tensor | None = None
    gt_label: Tensor | None = None
    anomaly_map: Tensor | None = None
    gt_mask: Tensor | None = None


def image_metrics(scores: Tensor, labels: Tensor, threshold: float) -> dict[str, float]:
    """Metrics of image scores.

    Args:
        scores: as the model gives them, before anomalib's normalisation, which cuts them off at 0 and 1: N.
        labels: 0 or 1: N.
        threshold: found in validation; not a number where there was none.
    """
    unit, labels = to_unit(scores), labels.int()
    auroc, f1_max = AUROC(fields=["pred_score", "gt_label"]), F1Max(fields=["pred_score", "gt_label"])
    for metric in (auroc, f1_max):
        metric.update(_batch(pred_score=unit, gt_label=labels))
    specificity, _ = binary_specificity_at_sensitivity(unit, labels, min_sensitivity=MIN_RECALL)
    # A threshold that is no number calls nothing abnormal.
    called = (scores > threshold).int()
    return {
        "image_AUROC": auroc.compute().item(),
        "image_AP": binary_average_precision(unit, labels).item(),
        "image_F1Max": f1_max.compute().item(),
        "image_SpecAt95Recall": specificity.item(),
        "image_F1Score": binary_f1_score(called, labels).item(),
    }


def at_common_threshold(scores: Tensor, labels: Tensor, threshold: float | None) -> dict[str, float]:
    """What a threshold amounts to that was set by the same rule for every model; nothing where none was.

    Args:
        scores: N.
        labels: 0 or 1: N.
        threshold: not a number where there were too few images to set one.
    """
    if threshold is None:
        return {}
    if math.isnan(threshold):
        return dict.fromkeys(("normals_F1", "normals_FPR"), math.nan)
    called, labels = (scores > threshold).int(), labels.int()
    rate = called[labels == 0].float().mean().item()
    return {"normals_F1": binary_f1_score(called, labels).item(), "normals_FPR": rate}


def pixel_metrics(maps: Tensor, masks: Tensor) -> dict[str, float]:
    """Metrics of anomaly maps.

    Args:
        maps: N x H x W.
        masks: N x H x W, 0 or 1.
    """
    fields = ["anomaly_map", "gt_mask"]
    unit, masks = to_unit(maps), masks.int()
    values = {}
    for name, metric in (("pixel_AUROC", AUROC(fields=fields)), ("pixel_AUPRO", AUPRO(fields=fields))):
        metric.update(_batch(anomaly_map=unit, gt_mask=masks))
        values[name] = metric.compute().item()
    return values


def _batch(**fields: Tensor) -> Any:
    """For anomalib, which asks for a batch and reads fields."""
    return Scored(**fields)


def to_unit(values: Tensor) -> Tensor:
    """The same order in [0, 1]: torchmetrics puts anything else through a sigmoid, which makes large scores equal."""
    values = values.double()
    low, high = torch.aminmax(values)
    return (values - low) / (high - low).clamp_min(torch.finfo(torch.float64).tiny)
