# SPDX-License-Identifier: Apache-2.0
"""``support_mode="in_batch"``: the images of a batch are one another's supports."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)


def categories_of(batch: Any) -> list[str]:
    """Of each image; all of one where the datamodule names none."""
    return getattr(batch, "category", None) or [""] * len(batch.image)


def partners_in_batch(categories: Sequence[str], k_shot: int, generator: torch.Generator) -> Tensor:
    """For each image ``k_shot`` others of its category in the batch, drawn at random: how often each, B x B.

    Where a category has too few others they are drawn more than once; an image without any is its own support, at
    distance zero, and so has no say in that loss.
    """
    names = np.asarray(categories)
    counts = torch.zeros(len(names), len(names))
    for place, name in enumerate(names):
        others = torch.from_numpy(np.flatnonzero((names == name) & (np.arange(len(names)) != place)))
        if len(others) == 0:
            others = torch.tensor([place])
        draws = torch.randperm(max(len(others), k_shot), generator=generator)[:k_shot] % len(others)
        counts[place] += torch.bincount(others[draws], minlength=len(names))
    return counts


def lone_image(batches: int) -> str:
    """What to say of a batch of one, whose image has nothing to be compared with.

    Args:
        batches: how many there are in an epoch.
    """
    start = "D24FAD compares the images of a batch with one another, and "
    if batches == 1:
        return start + (
            "there is one training image: pass --data.k_shot 2 or more, or train on other categories "
            "(MedicalFewShot with protocol=episodic)."
        )
    return start + (
        "this batch has one. Raise train_batch_size, or give it supports (MedicalFewShot with protocol=episodic)."
    )


def tell_lonely(categories: Sequence[str]) -> None:
    """Say so if images of an ``in_batch`` batch have nothing to be compared with."""
    lonely = sum(categories.count(category) == 1 for category in categories)
    if lonely:
        logger.warning(
            "support_mode=in_batch: %d of %d images of the first batch have no other of their category to be "
            "compared with. Pass --data.same_category_batches true, or raise train_batch_size.",
            *(lonely, len(categories)),
        )
