# SPDX-License-Identifier: Apache-2.0
"""One rule for every model's threshold: from normal images of the target that the scoring model was not given.

Under ``one_class`` these are the normal validation images. With K images there are no others: each is left out in turn,
and the model, compared with or trained on the rest, scores it; with many, some are left out at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from anomalib.models import AnomalibModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from anomalib_fsad.compare.cells import ONE_CLASS
from anomalib_fsad.threshold import MINIMUM, threshold_from_normals

TARGET_FPR = 0.05
MOST_FITS = 4
"""A model that is trained on the K images is trained anew so often at most."""


def threshold_of(
    model: AnomalibModule, datamodule: Any, protocol: str, fit: Callable[[DataLoader], AnomalibModule]
) -> float:
    """The raw score that one normal image in twenty exceeds; not a number where there are too few to tell.

    Args:
        model: trained.
        datamodule: that it was trained on.
        protocol: of the cell.
        fit: trains a new model of the kind on a loader.
    """
    if protocol == ONE_CLASS:
        held_out = datamodule.val_data
        images = [item.image for item in map(held_out.__getitem__, range(len(held_out))) if not item.gt_label]
        scores = raw_scores(model, images)
    elif hasattr(model.model, "leave_one_out"):
        network: Any = model.model
        verdicts = network.leave_one_out(network.support.images.shape[-2:])
        scores = [verdict.pred_score.item() for verdict in verdicts]
    elif len(datamodule.train_data) >= MINIMUM:
        scores = trained_on_the_rest(datamodule, fit)
    else:
        scores = []
    try:
        return threshold_from_normals(scores, TARGET_FPR).value
    except ValueError:  # fewer than it takes, or all alike
        return float("nan")


@torch.no_grad()
def raw_scores(model: Any, images: Sequence[Tensor]) -> list[float]:
    """Before any post-processing, each image by itself."""
    model.eval()
    return [model.model(model.pre_processor(image[None].to(model.device))).pred_score.item() for image in images]


def trained_on_the_rest(datamodule: Any, fit: Callable[[DataLoader], AnomalibModule]) -> list[float]:
    """Of models that are trained on the K images, but some."""
    data: Dataset = datamodule.train_data
    scores = []
    for left_out, rest in folds(len(datamodule.train_data), MOST_FITS):
        loader = DataLoader(
            Subset(data, rest),
            batch_size=datamodule.train_batch_size,
            shuffle=True,
            collate_fn=datamodule.train_data.collate_fn,
        )
        scores += raw_scores(fit(loader), [data[i].image for i in left_out])
    return scores


def folds(count: int, most: int) -> Iterator[tuple[list[int], list[int]]]:
    """What is left out and what is not, each once; nothing of a single one.

    Example:
        >>> list(folds(3, 2))
        [([0, 1], [2]), ([2], [0, 1])]
    """
    if count > 1:
        for part in np.array_split(np.arange(count), min(count, most)):
            left_out = part.tolist()
            yield left_out, [i for i in range(count) if i not in left_out]
