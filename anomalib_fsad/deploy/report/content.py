# SPDX-License-Identifier: Apache-2.0
"""What a report tells, as plain arrays: of each image, and of what all are judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.images.decoding import FloatImage


class NearestPatch(NamedTuple):
    """The patch of a support that is nearest to an image's hottest place.

    Attributes:
        support: which one.
        box: around the patch: left, top, right and bottom, as shares of width and height.
    """

    support: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Finding:
    """One image.

    Attributes:
        name: what to call it.
        picture: H x W x 3 in [0, 1].
        heat: its anomaly map, h x w in [0, 1], 0.5 at the threshold; ``None`` for a model without maps.
        score: as it is shown.
        raw_score: on the scale of the normals' scores and the threshold.
        label: whether it is anomalous; ``None`` without a threshold.
        weights: what each support counted.
        nearest: where there is one.
        truth: whether it is anomalous by its ground truth, where that is known.
        truth_mask: h x w, likewise.
    """

    name: str
    picture: FloatImage
    heat: NDArray[np.floating] | None
    score: float
    raw_score: float
    label: bool | None
    weights: Sequence[float] = ()
    nearest: NearestPatch | None = None
    truth: bool | None = None
    truth_mask: NDArray[np.bool_] | None = None


class Support(NamedTuple):
    """A normal image that the others are compared with; without a picture where that is not at hand."""

    name: str
    picture: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Basis:
    """What the images of a report are judged by.

    Attributes:
        threshold: on raw scores; ``None`` where nothing is labelled.
        source: where the threshold comes from.
        caution: what to know before relying on it.
        contour: what the line in the pictures is drawn at.
        normal_scores: raw scores of normal images, for comparison.
        normals: which normal images these are.
        supports: the K support images.
        warnings: what everybody should read first.
        facts: what run this is: versions, digests.
    """

    threshold: float | None
    source: str
    caution: str = ""
    contour: str = "the threshold"
    normal_scores: Sequence[float] | NDArray[np.floating] = ()
    normals: str = ""
    supports: Sequence[Support] = ()
    warnings: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
