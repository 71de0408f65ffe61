# SPDX-License-Identifier: Apache-2.0
"""A threshold from normal images alone.

Each of the K normal images is scored against the other K - 1 (leave-one-out); the threshold is set so that a new normal
image lies above it with a probability of ``target_fpr``:

- with K + 1 >= 1 / target_fpr, by an order statistic (as in split conformal prediction): no assumption on how scores
  are distributed, but coarse, since only K values can be chosen;
- with fewer, that probability is beyond what K scores can show. The logarithms of the scores are taken to be normal,
  and the threshold is the upper bound of their prediction interval (Student's t). Its false-positive rate is the
  target on average over many draws of K images; that of one draw scatters widely, and a heavier tail makes it larger.

A support image is compared with K - 1 others, a new image with K, so leave-one-out scores are a little high: the error
is on the side of fewer alarms. No threshold from normals says what share of anomalies is found. What this amounts to
in figures stands in the README beside the command that measured it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

TARGET_FPR = 0.05

MINIMUM = 3
"""Two images score one another alike: one value, and no spread."""


class Threshold(NamedTuple):
    """A threshold on raw scores and how it came about."""

    value: float
    target_fpr: float
    method: Literal["order_statistic", "lognormal"]

    @property
    def limits(self) -> str:
        """What it can be trusted for, in words."""
        if self.method == "order_statistic":
            return "this rate holds for images like those enrolled, on average over draws of them"
        return (
            f"too few images to show this rate ({enough_for(self.target_fpr)} do): it rests on an assumption, and one "
            "draw of images may give three times as many false alarms; look at the scores of more normal images"
        )


def threshold_from_normals(scores: Sequence[float] | NDArray[np.floating], target_fpr: float) -> Threshold:
    """The raw score that a new normal image exceeds with a probability of ``target_fpr``.

    Args:
        scores: raw leave-one-out scores of K normal images.
        target_fpr: between 0 and 0.5.

    Example:
        >>> threshold_from_normals([0.2, 0.22, 0.19, 0.25], target_fpr=0.05).method
        'lognormal'
        >>> threshold_from_normals(range(1, 20), target_fpr=0.05)
        Threshold(value=19.0, target_fpr=0.05, method='order_statistic')
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    count = len(ordered)
    check_target(target_fpr)
    if count < MINIMUM:
        msg = (
            f"A threshold needs at least {MINIMUM} normal images, better 8, and {count} were enrolled: add some, or "
            "keep the checkpoint's threshold (--target-fpr none)."
        )
        raise ValueError(msg)
    if not np.isfinite(ordered).all() or ordered[0] < 0:
        msg = f"Scores of normal images must be finite and not negative, and these are {ordered.tolist()}."
        raise ValueError(msg)
    if np.ptp(ordered) == 0:
        msg = (
            "All normal images have the same leave-one-out score, so nothing can be said of others: are they copies "
            "of one image? Enrol different ones."
        )
        raise ValueError(msg)
    # Rounded, so that 0.95 * 20 is 19 and not a little more.
    rank = math.ceil(round((count + 1) * (1 - target_fpr), 9))
    positive = np.maximum(ordered, np.finfo(np.float32).tiny)
    if rank <= count:
        return Threshold(float(positive[rank - 1]), target_fpr, "order_statistic")
    logs = np.log(positive)
    spread = logs.std(ddof=1) * math.sqrt(1 + 1 / count)
    value = math.exp(min(logs.mean() + student_quantile(1 - target_fpr, count - 1) * spread, 80.0))
    return Threshold(value, target_fpr, "lognormal")


def check_target(target_fpr: float) -> None:
    """Refuse what is no false-positive rate."""
    if not 0 < target_fpr < 0.5:  # noqa: PLR2004
        msg = f"target_fpr={target_fpr} must lie between 0 and 0.5, e.g. 0.05 for one false alarm in twenty normals."
        raise ValueError(msg)


def enough_for(target_fpr: float) -> int:
    """How many normal images can show this rate.

    Example:
        >>> enough_for(0.05)
        19
    """
    return math.ceil(round(1 / target_fpr, 9)) - 1


def around_half(raw: Any, threshold: float) -> Any:
    """Raw scores, or maps, of 0 and more -> 0 to 1: 0.5 at the threshold, always rising, and never at 1.

    Example:
        >>> around_half(0.2, threshold=0.2), around_half(1.8, threshold=0.2)
        (0.5, 0.9)
    """
    return raw / (raw + threshold)


@lru_cache
def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t: with t = sqrt(n) tan(x) its density becomes cos(x)^(n-1) on (-pi/2, pi/2).

    Example:
        >>> round(student_quantile(0.95, 3), 3), round(student_quantile(0.975, 7), 3)
        (2.353, 2.365)
    """
    angles = np.linspace(-np.pi / 2, np.pi / 2, 50_001)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(float(np.interp(probability, mass / mass[-1], angles)))
