# SPDX-License-Identifier: Apache-2.0
"""What each space counts, learnt from validation images: those are of other tasks, the target has no say."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad.models.components import ImageScore, image_score

STEPS = 6
"""Weights are multiples of a sixth, so that halves and thirds are among them."""


def weight_grid(spaces: int) -> Tensor:
    """All weights with mean 1, the most even first: W x S.

    Example:
        >>> weight_grid(2)[:3].tolist()
        [[1.0, 1.0], [0.6666666865348816, 1.3333333730697632], [1.3333333730697632, 0.6666666865348816]]
    """
    parts = [part for part in product(range(STEPS + 1), repeat=spaces) if sum(part) == STEPS]
    parts.sort(key=lambda part: (sum(count**2 for count in part), part))
    return torch.tensor(parts) * (spaces / STEPS)


def learnt_weights(maps: Tensor, labels: Tensor, categories: Sequence[str], how: ImageScore) -> list[float] | None:
    """The weights whose sum of maps tells abnormal images from normal ones best, on the mean over categories.

    Args:
        maps: of each space, N x S x H x W.
        labels: whether an image is abnormal, N.
        categories: of the images; ranks are taken within each, since tasks have scales of their own.
        how: a map becomes a score.

    Returns:
        One weight a space; ``None`` where no category has both normal and abnormal images.
    """
    names = np.asarray(categories)
    groups = [torch.from_numpy(np.flatnonzero(names == name)) for name in sorted(set(categories))]
    groups = [rows for rows in groups if labels[rows].any() and not labels[rows].all()]
    if not groups:
        return None
    best, chosen = -1.0, weight_grid(maps.shape[1])[0]
    for weights in weight_grid(maps.shape[1]):
        scores = image_score((maps * weights[:, None, None]).sum(dim=1, keepdim=True), how)
        area = sum(binary_auroc(ranks(scores[rows]), labels[rows].long()).item() for rows in groups) / len(groups)
        if area > best:
            best, chosen = area, weights
    return chosen.tolist()


def ranks(scores: Tensor) -> Tensor:
    """Order as numbers in [0, 1]: torchmetrics would squeeze scores beyond 1 through a sigmoid, into ties."""
    _, order = scores.unique(return_inverse=True)
    return order / max(len(scores), 1)
