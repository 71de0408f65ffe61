# SPDX-License-Identifier: Apache-2.0
"""The answer of the inferencer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is said of one image.

    With a threshold of the enrolment's own, ``score`` and ``anomaly_map`` are ``raw / (raw + threshold)``: 0.5 at the
    threshold, as in anomalib, and below 1 however large the raw value. Else they are what the checkpoint's
    post-processor makes of the raw ones: the same values again if it has seen no validation.

    Attributes:
        name: path of the image, or its place.
        score: of the image.
        label: whether it is anomalous; ``None`` if there is no threshold at all.
        anomaly_map: height x width of the model's input.
        mask: which pixels are anomalous; ``None`` without a threshold.
        support_weights: what each of the K support images counted, averaged over the scales; none without a support.
        support_weights_by_scale: the same by scale, S x K.
        raw_score: the score before any normalisation.
        raw_map: the map before any normalisation.
        nearest_support: with ``matching=nearest``, the place in the enrolment of the support image that holds the patch
            nearest to the map's highest place.
        nearest_box: around that patch: left, top, right, bottom as shares of width and height.
    """

    name: str
    score: float
    label: bool | None
    anomaly_map: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    support_weights: NDArray[np.float32]
    support_weights_by_scale: NDArray[np.float32]
    raw_score: float
    raw_map: NDArray[np.float32]
    nearest_support: int | None = None
    nearest_box: tuple[float, float, float, float] | None = None

    @property
    def reference_weights(self) -> NDArray[np.float32]:
        """What 0.2 called ``support_weights``."""
        return self.support_weights

    @property
    def reference_weights_by_scale(self) -> NDArray[np.float32]:
        """What 0.2 called ``support_weights_by_scale``."""
        return self.support_weights_by_scale

    @property
    def level(self) -> float:
        """The median of the raw map: how unlike the support the image is as a whole, whatever spots it has."""
        return float(np.median(self.raw_map))
