# SPDX-License-Identifier: Apache-2.0
"""What each space counts, learnt from validation images that come with supports of their own category."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad.models.components import ImageScore, image_score

STEPS = 12
"""Weights are multiples of a twelfth and never zero: halves and thirds are among them, and no space falls silent."""


def weight_grid(spaces: int) -> Tensor:
    """All weights with mean 1, the most even first: W x S.

    Example:
        >>> weight_grid(2)[0].tolist(), len(weight_grid(2)), len(weight_grid(3))
        ([1.0, 1.0], 11, 55)
    """
    parts = [part for part in product(range(1, STEPS), repeat=spaces) if sum(part) == STEPS]
    parts.sort(key=lambda part: (sum(count**2 for count in part), part))
    return torch.tensor(parts) * (spaces / STEPS)


def scores_by_weights(maps: Tensor, how: ImageScore) -> Tensor:
    """The scores that images would have with each of the weights: W x N.

    Args:
        maps: of each space by itself, N x S x H x W.
        how: a map becomes a score.
    """
    grid = weight_grid(maps.shape[1]).to(maps)
    return torch.stack([image_score(torch.einsum("nshw,s->nhw", maps, row).unsqueeze(1), how) for row in grid])


def best_weights(scores: Tensor, labels: Tensor, categories: Sequence[str], spaces: int) -> list[float] | None:
    """The weights that tell abnormal images from normal ones best, on the mean over categories.

    Args:
        scores: as of ``scores_by_weights``, W x N.
        labels: whether an image is abnormal, N.
        categories: of the images, whose scores are on scales of their own.
        spaces: S.

    Returns:
        One weight a space; ``None`` where no category has both normal and abnormal images.
    """
    names = np.asarray(categories)
    groups = [torch.from_numpy(np.flatnonzero(names == name)) for name in sorted(set(categories))]
    groups = [rows for rows in groups if labels[rows].any() and not labels[rows].all()]
    if not groups:
        return None
    areas = [sum(binary_auroc(_ranks(row[rows]), labels[rows].long()).item() for rows in groups) for row in scores]
    return weight_grid(spaces)[int(np.argmax(areas))].tolist()


def _ranks(scores: Tensor) -> Tensor:
    """Order as numbers in [0, 1]: torchmetrics would squeeze scores beyond 1 through a sigmoid, into ties."""
    return scores.unique(return_inverse=True)[1] / len(scores)
