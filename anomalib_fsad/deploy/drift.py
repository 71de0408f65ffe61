# SPDX-License-Identifier: Apache-2.0
"""Whether the images of a folder look like the enrolled normals at all: another organ, another scanner, inverted grey.

A lesion raises an image's map in places, another kind of image raises it everywhere. So the *level* of an image is the
median of its raw map; the levels of the normals are those of leave-one-out. The *drift* of a folder is the share of
all pairs of one of its images and a normal in which the image has the higher level: 0.5 for more images like the
normals, 1 where every image is less like the normals than the most unlike of these. A folder is called foreign where
nearly all pairs are so, and its median level is above that of the normals. Some foreign images among many do not show.

The limits were settled on drawn organs alone (``python -m benchmarks.accuracy enrolment``): more normals of the
enrolled organ reach neither, and folders in which every single image has a lesion hardly ever both; another organ
exceeds both. A changed grey scale does so only where the network tells it from the enrolled one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anomalib_fsad.deploy.enrolment import Enrolment

LIMIT = 0.95
RATIO = 1.3

FEWEST = 4
"""Of fewer images than this nothing is said: one unusual normal image is no drift."""


class Drift(NamedTuple):
    """How far a folder is from the enrolled normals; see the module.

    Attributes:
        share: of the pairs in which the image has the higher level.
        ratio: the median level of the images by that of the normals.
    """

    share: float
    ratio: float

    @property
    def foreign(self) -> bool:
        """Whether these are hardly images of the enrolled kind."""
        return self.share > LIMIT and self.ratio > RATIO

    def __str__(self) -> str:
        facts = f"drift {self.share:.2f} (usually about 0.5), levels {self.ratio:.1f} times those of the normal images"
        if not self.foreign:
            return facts
        return (
            f"{facts}: these hardly look like the enrolled images. Another organ, scanner or grey scale? Scores and "
            "labels say little then: enrol normal images of this kind"
        )


def drift_of(levels: Sequence[float], enrolment: Enrolment) -> Drift | None:
    """The drift of images of these levels; ``None`` where there are too few, or a single normal image."""
    normal = enrolment.normal_levels
    if len(levels) < FEWEST or len(normal) == 0:
        return None
    share = float((np.asarray(levels)[:, None] > normal).mean())
    ratio = float(np.median(levels)) / max(float(np.median(normal)), float(np.finfo(np.float32).tiny))
    return Drift(share, ratio)
