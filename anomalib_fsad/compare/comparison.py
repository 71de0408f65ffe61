# SPDX-License-Identifier: Apache-2.0
"""Models -> benchmarks, each model under the protocol that shows it the same normal images."""

from collections.abc import Sequence
from typing import Any

from anomalib_fsad.compare.building import arguments_of
from anomalib_fsad.compare.cells import EPISODIC, FEW_SHOT, ONE_CLASS
from anomalib_fsad.compare.entrants import Entrant, entrant, is_ours


def protocol_of(model: Entrant, *, few_shot: bool) -> str:
    """How a model comes to know what is normal.

    With K images: one of ours that takes supports is trained on the other categories and shown K, any other model is
    trained on the K. Without: all are trained on all normal images of the target.
    """
    if not few_shot:
        return ONE_CLASS
    return EPISODIC if is_ours(model.name) and "few_shot_source" in arguments_of(model.class_path) else FEW_SHOT


def benchmarks_of(models: Sequence[str], *, few_shot: bool) -> list[dict[str, Any]]:
    """What anomalib's benchmark files would say, one for each model; beside, its name in the tables and its steps.

    Args:
        models: names of models, and recipe files.
        few_shot: whether K images are all that is known of the target.

    Raises:
        ValueError: for a name that anomalib does not know.
    """
    return [
        {
            "benchmark": {
                "seed": 0,
                "model": {"class_path": model.class_path, "name": model.name, "init_args": model.init_args},
                "data": {
                    "class_path": "MedicalFewShot",
                    "init_args": {"protocol": protocol_of(model, few_shot=few_shot)},
                },
            },
            "max_steps": model.max_steps,
        }
        for model in map(entrant, models)
    ]
