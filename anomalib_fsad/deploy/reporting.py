# SPDX-License-Identifier: Apache-2.0
"""A run of ``predict`` as a report tells it."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.deploy.judgement import Judgement
from anomalib_fsad.deploy.prediction import Prediction
from anomalib_fsad.deploy.report import Basis, Finding, NearestPatch, Support
from anomalib_fsad.images.decoding import FloatImage
from anomalib_fsad.threshold import around_half

TITLE = "Anomaly report"


def finding_of(name: str, pixels: FloatImage, prediction: Prediction, judged: Judgement) -> Finding:
    """An image of the run."""
    return Finding(
        name=name,
        picture=pixels,
        heat=around_half(prediction.raw_map, judged.map_scale),
        score=prediction.score,
        raw_score=prediction.raw_score,
        label=prediction.label,
        weights=tuple(prediction.support_weights.tolist()),
        nearest=_nearest(prediction),
    )


def _nearest(prediction: Prediction) -> NearestPatch | None:
    if prediction.nearest_support is None or prediction.nearest_box is None:
        return None
    return NearestPatch(prediction.nearest_support, prediction.nearest_box)


def basis_of(enrolment: Enrolment | None, judged: Judgement, facts: Mapping[str, Any], warnings: list[str]) -> Basis:
    """What its images are judged by.

    Args:
        enrolment: what they were compared with, if anything.
        judged: the threshold and where it is from.
        facts: as ``predictions.json`` has them.
        warnings: what everybody should read first.
    """
    count = 0 if enrolment is None else len(enrolment.normal_scores)
    return Basis(
        threshold=judged.threshold,
        source=judged.source,
        caution=judged.caution,
        contour=judged.contour,
        normal_scores=() if enrolment is None else enrolment.normal_scores,
        normals=f"the {count} enrolled normal images, each compared with the others" if count else "",
        supports=[] if enrolment is None else _supports(enrolment),
        warnings=warnings,
        facts={
            "Model": str(facts["model"]),
            "Bundle": str(facts["bundle"]),
            "Enrolment": str(facts["enrolment"] or ""),
            "Intensity": str(facts["intensity"]),
            "Software": ", ".join(f"{name} {number}" for name, number in facts["software"].items()),
        },
    )


def _supports(enrolment: Enrolment) -> list[Support]:
    pictures = enrolment.pictures if len(enrolment.pictures) else [None] * len(enrolment)
    # The names alone: a folder's path may tell more than a reader of the report is meant to know.
    names = [PurePath(name).name for name in enrolment.names]
    return [Support(name, picture) for name, picture in zip(names, pictures, strict=True)]
