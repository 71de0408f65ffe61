# SPDX-License-Identifier: Apache-2.0
"""By what images are judged: which threshold, where it comes from, and how far it can be trusted."""

from typing import NamedTuple

import numpy as np

from anomalib_fsad.deploy.bundle import Metadata
from anomalib_fsad.deploy.enrolment import Enrolment


class Judgement(NamedTuple):
    """The threshold that labels follow.

    Attributes:
        threshold: on raw scores; ``None`` where there are no labels.
        source: where it comes from, in words.
        caution: what to know before relying on it, in words.
        warning: whether that is reason not to rely on it at all.
        map_scale: the value of a raw map that heat maps show as the threshold.
        contour: what that value is, in words.
    """

    threshold: float | None
    source: str
    caution: str
    warning: bool
    map_scale: float
    contour: str


def judgement(metadata: Metadata, enrolment: Enrolment | None) -> Judgement:
    """How images are judged: by the enrolment's own threshold, else by the checkpoint's, else not."""
    peak = 0.0 if enrolment is None else float(enrolment.normal_peaks.max(initial=0.0))
    own, count = (None, 0) if enrolment is None else (enrolment.threshold, len(enrolment))
    if own is not None and enrolment is not None and enrolment.map_threshold is not None:
        source = f"leave-one-out of {count} normal images, {own.target_fpr:.3g} of normals above it ({own.method})"
        return Judgement(own.value, source, own.limits, False, enrolment.map_threshold.value, "the map's threshold")
    threshold, scale = metadata.threshold("image"), peak or metadata.threshold("pixel") or 1.0
    contour = "the highest value of the normals' maps" if peak else "the map's threshold"
    if threshold is None:
        caution = "scores are raw and nothing is labelled"
        caution += "" if enrolment is None else "; a target false-positive rate sets a threshold"
        return Judgement(None, "none", caution, False, scale, contour)
    scores = np.empty(0) if enrolment is None else enrolment.normal_scores
    above = int((scores > threshold).sum())
    caution = "it was found on the data of the checkpoint's validation"
    if above:
        caution += (
            f"; {above} of the {count} normal images lie above it by their leave-one-out scores ({scores.min():.4g} to "
            f"{scores.max():.4g}), so healthy images will be called anomalous: set one by these images (--target-fpr)"
        )
    return Judgement(threshold, "checkpoint", caution, above > 0, scale, contour)
