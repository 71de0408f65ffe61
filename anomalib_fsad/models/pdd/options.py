# SPDX-License-Identifier: Apache-2.0
"""Checks of what only PDD has, since anomalib's benchmark passes jsonargparse by, and the names of earlier releases."""

import logging
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


def renamed(old: str, value: T, new: str) -> T:
    """``value``, with a line that says what replaced its option."""
    logger.warning("PDD: %s is deprecated; use %s.", old, new)
    return value


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
