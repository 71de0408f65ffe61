# SPDX-License-Identifier: Apache-2.0
"""A run of ``predict`` as a report tells it."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.deploy.judgement import Judgement
from anomalib_fsad.deploy.prediction import Prediction
from anomalib_fsad.deploy.report import Basis, Finding, Support
from anomalib_fsad.images.decoding import FloatImage
from anomalib_fsad.threshold import around_half

TITLE = "Anomalies against enrolled normals"


def finding_of(name: str, pixels: FloatImage, prediction: Prediction, judged: Judgement) -> Finding:
    """An image of the run."""
    return Finding(
        name=name,
        picture=pixels,
        heat=around_half(prediction.raw_map, judged.map_scale),
        score=prediction.score,
        raw_score=prediction.raw_score,
        label=prediction.label,
        weights=tuple(prediction.reference_weights.tolist()),
    )


def basis_of(enrolment: Enrolment, judged: Judgement, facts: Mapping[str, Any], warnings: list[str]) -> Basis:
    """What its images are judged by.

    Args:
        enrolment: what they were compared with.
        judged: the threshold and where it is from.
        facts: as ``predictions.json`` has them.
        warnings: what everybody should read first.
    """
    pictures = enrolment.pictures if len(enrolment.pictures) else [None] * len(enrolment)
    # The names alone: a folder's path may tell more than a reader of the report is meant to know.
    names = [PurePath(name).name for name in enrolment.names]
    count = len(enrolment.normal_scores)
    return Basis(
        title=TITLE,
        threshold=judged.threshold,
        source=judged.source,
        caution=judged.caution,
        contour=judged.contour,
        normal_scores=enrolment.normal_scores,
        normals=f"the {count} enrolled normal images, each compared with the others" if count else "",
        supports=[Support(name, picture) for name, picture in zip(names, pictures, strict=True)],
        warnings=warnings,
        facts={
            "Model": str(facts["model"]),
            "Bundle": str(facts["bundle"]),
            "Enrolment": str(facts["enrolment"]),
            "Intensity": str(facts["intensity"]),
            "Software": ", ".join(f"{name} {number}" for name, number in facts["software"].items()),
        },
    )
