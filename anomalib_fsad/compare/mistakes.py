# SPDX-License-Identifier: Apache-2.0
"""The images that a model errs on most: normal ones of the highest scores, abnormal ones of the lowest."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from anomalib_fsad.images.decoding import read_rgb, to_uint8

EACH = 3
"""Images of either kind."""

SIDE = 96
"""Of the pictures that are kept."""


class Mistakes(NamedTuple):
    """At most ``EACH`` normal images, worst first, then as many abnormal ones.

    Attributes:
        names: of the files, N.
        labels: 0 or 1, N.
        ranks: which share of all images scores lower, N.
        pictures: N x SIDE x SIDE x 3, 8 bits.
        maps: N x h x w, in units of the highest value that a normal image of the set has anywhere.
    """

    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    ranks: NDArray[np.float32]
    pictures: NDArray[np.uint8]
    maps: NDArray[np.float32]


def worst_places(scores: Tensor, labels: Tensor, each: int = EACH) -> list[int]:
    """Which images these are.

    Example:
        >>> worst_places(torch.tensor([0.1, 0.9, 0.2, 0.3]), torch.tensor([0, 0, 1, 1]), each=1)
        [1, 2]
    """
    normal, abnormal = (torch.nonzero(labels == kind).flatten() for kind in (0, 1))
    highest = normal[scores[normal].argsort(descending=True)[:each]]
    lowest = abnormal[scores[abnormal].argsort()[:each]]
    return [*highest.tolist(), *lowest.tolist()]


def mistakes(paths: Sequence[str], scores: Tensor, labels: Tensor, maps: Tensor) -> Mistakes:
    """Keep the worst images of a test.

    Args:
        paths: N.
        scores: N.
        labels: N.
        maps: N x h x w.
    """
    chosen = worst_places(scores, labels)
    unit = maps[labels == 0].max().clamp_min(torch.finfo(torch.float32).tiny)
    return Mistakes(
        np.array([Path(paths[i]).name for i in chosen]),
        labels[chosen].long().numpy(),
        np.array([(scores < scores[i]).float().mean().item() for i in chosen], dtype=np.float32),
        np.stack([_thumbnail(paths[i]) for i in chosen]),
        (maps[chosen] / unit).float().numpy(),
    )


def _thumbnail(path: str) -> NDArray[np.uint8]:
    image = Image.fromarray(to_uint8(read_rgb(path)))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
