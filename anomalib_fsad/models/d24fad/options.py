# SPDX-License-Identifier: Apache-2.0
"""Checks of what only D24FAD has, since anomalib's benchmark passes jsonargparse by."""

from collections.abc import Sequence

from anomalib_fsad.models.components import IMAGE_SCORES, check_choice
from anomalib_fsad.models.d24fad.nearest import SPACES
from anomalib_fsad.threshold import check_target


def check_options(k_shot: int | None, support_mode: str, image_score: str, threshold: str, target_fpr: float) -> None:
    """Refuse values that are none."""
    if k_shot is not None and k_shot < 1:
        msg = f"k_shot={k_shot} must be at least 1."
        raise ValueError(msg)
    check_choice("support_mode", support_mode, ("episode", "in_batch"))
    check_choice("image_score", image_score, IMAGE_SCORES)
    check_choice("threshold", threshold, ("support", "validation"))
    check_target(target_fpr)


def check_matching(
    matching: str, spaces: Sequence[str], space_weights: str, *, augment_support: bool, calibrate: bool
) -> None:
    """Refuse spaces that are none, and options that have no say."""
    check_choice("matching", matching, ("aligned", "nearest"))
    check_choice("space_weights", space_weights, ("equal", "learnt"))
    if not spaces or len(set(spaces)) < len(spaces) or not set(spaces) <= set(SPACES):
        msg = f"spaces={list(spaces)} must be one or more of {list(SPACES)}, each once."
        raise ValueError(msg)
    learnt = space_weights == "learnt"
    if matching == "aligned" and (list(spaces) != ["student"] or augment_support or calibrate or learnt):
        msg = (
            f"spaces={list(spaces)}, augment_support={augment_support}, calibrate={calibrate} and "
            f"space_weights={space_weights} go with matching=nearest; matching=aligned compares the student's maps as "
            "they are. Pass --model.matching nearest."
        )
        raise ValueError(msg)
    if learnt and calibrate:
        msg = "calibrate=True brings all levels to one scale, and would undo space_weights=learnt: choose one of them."
        raise ValueError(msg)
    if learnt and len(spaces) == 1:
        msg = f"space_weights=learnt weighs spaces against one another, but spaces={list(spaces)}: name two or three."
        raise ValueError(msg)
