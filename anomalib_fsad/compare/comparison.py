# SPDX-License-Identifier: Apache-2.0
"""Models by their names -> benchmarks, each model under the protocol that shows it the same normal images."""

from collections.abc import Sequence
from typing import Any

from anomalib_fsad.compare.building import arguments_of, find_model
from anomalib_fsad.compare.cells import EPISODIC, FEW_SHOT, ONE_CLASS
from anomalib_fsad.registry import MODELS


def protocol_of(model: str, *, few_shot: bool) -> str:
    """How a model comes to know what is normal.

    With K images: one of ours that takes supports is trained on the other categories and shown K, any other model is
    trained on the K. Without: all are trained on all normal images of the target.
    """
    if not few_shot:
        return ONE_CLASS
    return EPISODIC if model in MODELS and "few_shot_source" in arguments_of(model) else FEW_SHOT


def benchmarks_of(models: Sequence[str], *, few_shot: bool) -> list[dict[str, Any]]:
    """What anomalib's benchmark files would say, one for each protocol.

    Raises:
        ValueError: for a name that anomalib does not know.
    """
    groups: dict[str, list[str]] = {}
    for name in models:
        find_model(name)
        groups.setdefault(protocol_of(name, few_shot=few_shot), []).append(name)
    return [
        {
            "benchmark": {
                "seed": 0,
                "model": {"class_path": {"grid": names}},
                "data": {"class_path": "MedicalFewShot", "init_args": {"protocol": protocol}},
            }
        }
        for protocol, names in groups.items()
    ]
