# SPDX-License-Identifier: Apache-2.0
"""Bootstrap over test images: pure functions on scores, labels and counts of how often each image was drawn.

The metrics are those of ``metrics.py``, computed for many draws at once; the tests hold them against each other.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_RECALL = 0.95
INTERVAL = (2.5, 97.5)
DRAWS = 2000


def draw_counts(labels: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.int64]:
    """How often each image is drawn, normal and abnormal ones apart, so that their numbers stay: draws x N."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((draws, len(labels)), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=draws)
    return counts


def resampled_metrics(scores: Array, labels: NDArray[np.int64], counts: NDArray[np.int64]) -> dict[str, Array]:
    """Each metric for each draw.

    Args:
        scores: N.
        labels: 0 or 1: N.
        counts: R x N; ones give the plain metric.

    Returns:
        ``image_AUROC``, ``image_AP``, ``image_F1Max`` and ``image_SpecAt95Recall``: R each.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    drawn = counts[:, order].astype(np.float64)
    hits = np.cumsum(drawn * (labels[order] == 1), axis=1)[:, last_of_ties]  # R x T
    alarms = np.cumsum(drawn * (labels[order] == 0), axis=1)[:, last_of_ties]
    recall, fall_out = hits / hits[:, -1:], alarms / alarms[:, -1:]
    called = hits + alarms
    precision = np.divide(hits, called, out=np.ones_like(hits), where=called > 0)
    step = np.diff(recall, axis=1, prepend=0.0)
    before = np.concatenate([np.zeros_like(recall[:, :1]), recall[:, :-1]], axis=1)
    enough = recall >= MIN_RECALL
    return {
        "image_AUROC": (np.diff(fall_out, axis=1, prepend=0.0) * (recall + before) / 2).sum(axis=1),
        "image_AP": (step * precision).sum(axis=1),
        "image_F1Max": (2 * hits / (called + hits[:, -1:])).max(axis=1),
        "image_SpecAt95Recall": np.where(enough, 1 - fall_out, 0.0).max(axis=1),
    }


def interval(values: Array) -> tuple[float, float]:
    """The middle 95 % of the draws."""
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)


def mean_of(parts: Mapping[object, Array]) -> Array:
    """The mean over cells, draw by draw."""
    return np.mean(list(parts.values()), axis=0)
