# SPDX-License-Identifier: Apache-2.0
"""What K normal images say of one another by their leave-one-out scores: is one of them unlike the rest, or all?

An *outlier* is found by the generalised extreme Studentised deviate (Rosner, 1983) on the logarithms of the scores,
upwards only: up to a quarter of the images are taken away one after another, each time that of the highest score, whose
distance from the mean, in standard deviations, is compared with what ``LEVEL`` of all sets of like images exceed. That
takes the logarithms to be normal, as the threshold for few images does.

The *spread* of the set is its threshold by its median score: how many times the score of a usual normal image an
anomaly must have to be found.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.threshold import student_quantile

LEVEL = 0.01
FEWEST = 4
"""Of fewer images none can be told to be the odd one."""


class Normals(NamedTuple):
    """See the module.

    Attributes:
        names: of the images.
        scores: of each against the others.
        outliers: their places, the most unlike first.
        spread: the threshold by the median score; ``None`` without a threshold.
    """

    names: Sequence[str]
    scores: NDArray[np.floating]
    outliers: tuple[int, ...]
    spread: float | None

    @property
    def warnings(self) -> list[str]:
        """What to look at before these images are relied on, in words."""
        found = []
        if self.outliers:
            named = ", ".join(repr(self.names[place]) for place in self.outliers)
            found.append(
                f"{named} {'is' if len(self.outliers) == 1 else 'are'} unlike the other normal images (leave-one-out "
                f"score {self.scores[self.outliers[0]] / float(np.median(self.scores)):.1f} times the median). Another "
                "kind of image, or a finding in it? Look at it, and enrol without it if so"
            )
        if self.spread is not None and self.spread > SPREAD:
            found.append(
                f"the normal images are too unlike one another: an image is called anomalous only beyond "
                f"{self.spread:.1f} times the score of a usual one. Enrol more, or those of one scanner and view only"
            )
        return found


SPREAD = 3.0


def normals_of(names: Sequence[str], scores: NDArray[np.floating], threshold: float | None) -> Normals:
    """Look at the leave-one-out scores of normal images."""
    median = float(np.median(scores)) if len(scores) else 0.0
    return Normals(names, scores, outliers(scores), threshold / median if threshold and median > 0 else None)


def outliers(scores: NDArray[np.floating], level: float = LEVEL) -> tuple[int, ...]:
    """The places of scores that are too high to be of the same kind as the others.

    Example:
        >>> import numpy as np
        >>> outliers(np.array([0.10, 0.11, 0.09, 0.50, 0.12, 0.10, 0.11, 0.105]))
        (3,)
    """
    logs = np.log(np.maximum(np.asarray(scores, dtype=np.float64), np.finfo(np.float32).tiny))
    left = list(range(len(logs)))
    taken: list[int] = []
    found = 0
    for _ in range(max(1, len(logs) // 4)):
        count = len(left)
        spread = logs[left].std(ddof=1) if count >= FEWEST else 0.0
        if spread == 0:
            break
        place = max(left, key=lambda candidate: float(logs[candidate]))
        deviate = (logs[place] - logs[left].mean()) / spread
        quantile = student_quantile(1 - level / count, count - 2)
        limit = (count - 1) * quantile / math.sqrt((count - 2 + quantile**2) * count)
        taken.append(place)
        left.remove(place)
        found = len(taken) if deviate > limit else found
    return tuple(taken[:found])
