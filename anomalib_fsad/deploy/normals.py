# SPDX-License-Identifier: Apache-2.0
"""Whether K normal images are of one kind, and which of them is not.

Every image is scored by each of the others *alone*, as if that were the whole support, so that an odd one does not
spoil what is said of the rest, as it does in leave-one-out. How far an image is *apart* is the median of its scores.

- An image is an outlier if it is more than ``LIMIT`` times as far apart as the median image is.
- The images are of several kinds if the median image is more than ``LIMIT`` times as far apart as the nearest other is.

The limit was settled on drawn organs (``python -m benchmarks.accuracy enrolment``): below it are images of one organ,
above it those with an image of another organ among them, or half of them. What the network hardly sees, such as another
contrast, is not found.
"""

from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LIMIT = 4.0

FEWEST = 3
"""Of two images each is as far from the other."""

COMPARED = 64
"""With how many others an image is compared at most; they are drawn. So time grows with K here, not with its square."""


class Normals(NamedTuple):
    """See the module.

    Attributes:
        names: of the images.
        scores: raw, of each by all the others (leave-one-out).
        outliers: places of the odd ones, the farthest first.
        times: how many times as far apart as the median the farthest is.
        kinds: how many times as far apart as from its nearest the median image is.
    """

    names: Sequence[str]
    scores: NDArray[np.floating]
    outliers: tuple[int, ...]
    times: float
    kinds: float

    @property
    def warnings(self) -> list[str]:
        """What to look at before these images are relied on, in words."""
        if self.kinds > LIMIT:
            several = (
                f"these normal images are too unlike one another: they seem to be of several kinds ({self.kinds:.0f} "
                "times as far from most as from the nearest). Enrol one organ, view and scanner at a time"
            )
            return [several]
        return [self._odd_ones()] if self.outliers else []

    def _odd_ones(self) -> str:
        named = ", ".join(PurePath(self.names[place]).name for place in self.outliers)
        be, them = ("is", "it") if len(self.outliers) == 1 else ("are", "them")
        return (
            f"{named} {be} unlike the other normal images ({self.times:.0f} times as far from them as they from one "
            f"another). Another kind of image, or a finding in it? Look at {them}, and enrol without {them} if so"
        )


def normals_of(
    names: Sequence[str], scores: NDArray[np.floating], singly: NDArray[np.floating], others: Sequence[int]
) -> Normals:
    """What the images say of one another.

    Args:
        names: of K images.
        scores: of each by all the others.
        singly: raw score of each by single others, K x J.
        others: which these are, J; an image's score by itself is left out.

    Example:
        >>> import numpy as np
        >>> places = np.array([0.0, 0.1, 0.3, 0.35, 8.0])
        >>> singly = np.abs(places[:, None] - places)
        >>> normals_of("abcde", singly.mean(axis=1), singly, range(5)).outliers
        (4,)
    """
    count = len(names)
    if count < FEWEST:
        return Normals(names, scores, (), 1.0, 1.0)
    by_others = np.where(np.arange(count)[:, None] == np.asarray(others), np.nan, singly)
    apart = np.maximum(np.nanmedian(by_others, axis=1), np.finfo(np.float32).tiny)
    nearest = np.maximum(np.nanmin(by_others, axis=1), np.finfo(np.float32).tiny)
    ratios = apart / np.median(apart)
    odd = [int(place) for place in np.argsort(-ratios) if ratios[place] > LIMIT]
    return Normals(names, scores, tuple(odd), float(ratios.max()), float(np.median(apart / nearest)))
