# SPDX-License-Identifier: Apache-2.0
"""Checks of what only PDD has, since anomalib's benchmark passes jsonargparse by, and the names of earlier releases."""

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)


def renamed_teachers(teachers: Sequence[str]) -> tuple[str, str | None]:
    """``backbone`` and ``second_backbone`` from the one list that they were before."""
    if isinstance(teachers, str) or len(teachers) not in {1, 2}:
        msg = f"teachers={teachers!r} must be one or two names; better pass backbone and second_backbone."
        raise ValueError(msg)
    logger.warning("PDD: teachers is deprecated; use backbone and second_backbone.")
    return str(teachers[0]), str(teachers[1]) if len(teachers) == 2 else None  # noqa: PLR2004


def check_similarity(option: str, value: float, symbol: str, given_by_symbol: float | None) -> float:
    """A threshold on cosines, by its name or by the paper's symbol, checked."""
    if given_by_symbol is not None:
        option, value = symbol, given_by_symbol
    if not -1 <= value <= 1:
        msg = (
            f"{option}={value} is compared with cosines: it must be between -1 and 1; the authors start at "
            "shallow_similarity=0.75 (tau_low) and deep_similarity=0.30 (tau_high)."
        )
        raise ValueError(msg)
    return value
