# SPDX-License-Identifier: Apache-2.0
"""How well a threshold from K normals keeps its false-positive rate, for scores of known distributions.

Draws K scores many times, sets the threshold, and computes the rate that it really has. What leave-one-out adds (the
supports are scored against one support fewer) is not in it: that depends on model and images.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from anomalib_fsad.compare.page import Table, Text
from anomalib_fsad.deploy import threshold_from_normals
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

DRAWS = 2000
TARGET = 0.05
COUNTS = (4, 8, 16, 19, 32, 64)

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

DISTRIBUTIONS: dict[str, tuple[Draw, Callable[[float], float]]] = {
    "lognormal": (
        lambda rng, n: rng.lognormal(-2, 0.3, n),
        lambda t: float(stats.lognorm.sf(t, 0.3, scale=np.exp(-2))),
    ),
    "gamma": (lambda rng, n: rng.gamma(4, 0.05, n), lambda t: float(stats.gamma.sf(t, 4, scale=0.05))),
    "Gumbel": (lambda rng, n: rng.gumbel(0.3, 0.05, n).clip(0.01), lambda t: float(stats.gumbel_r.sf(t, 0.3, 0.05))),
    "heavy-tailed (Pareto 2)": (lambda rng, n: 0.1 * (1 + rng.pareto(2, n)), lambda t: min(1.0, (t / 0.1) ** -2)),
}


def measure() -> pd.DataFrame:
    """A row for each distribution and K: the rate on average, and of one draw in ten at least."""
    rows = []
    for name, (draw, exceed) in DISTRIBUTIONS.items():
        for count in COUNTS:
            rng = np.random.default_rng(count)
            thresholds = [threshold_from_normals(scores, TARGET) for scores in draw(rng, (DRAWS, count))]
            rates = np.array([exceed(threshold.value) for threshold in thresholds])
            rows.append(
                {
                    "scores": name,
                    "K": count,
                    "method": thresholds[0].method,
                    "mean FPR %": round(100 * rates.mean(), 1),
                    "FPR % of the worst tenth of draws": round(100 * np.quantile(rates, 0.9), 1),
                }
            )
    return pd.DataFrame(rows)


def main(arguments: Sequence[str]) -> None:
    """Write the table."""
    parser = parser_of("accuracy threshold", __doc__)
    add_place(parser, "accuracy")
    options = parser.parse_args(arguments)
    rows = measure()
    blocks = [made_with(command(parser.prog, arguments)), Text(f"{DRAWS} draws of K scores each."), Table.of(rows)]
    title = f"Thresholds from K normals, target false-positive rate {TARGET:.0%}"
    write(options.results, "threshold", title, rows, blocks)
