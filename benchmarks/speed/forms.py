# SPDX-License-Identifier: Apache-2.0
"""Accuracy against latency: a line for each model through the forms it runs in."""

import pandas as pd
from matplotlib.figure import Figure

from anomalib_fsad.compare.plots import colour, log_axis
from anomalib_fsad.compare.summary import MAIN
from anomalib_fsad.registry import MODELS


def accuracy_and_latency(speed: pd.DataFrame, batch_size: int, summary: pd.DataFrame, setting: str) -> Figure:
    """The picture.

    Args:
        speed: rows of ``benchmarks.speed models``.
        batch_size: that their milliseconds are of.
        summary: of a report.
        setting: of the accuracies.
    """
    chosen = summary[(summary["setting"] == setting) & (summary["evaluation"] == "held_out")]
    known = chosen.set_index("model")[f"{MAIN}_mean"]
    inference = speed[(speed["task"] == "inference") & speed["contender"].isin(known.index)]
    markers = dict(zip(inference["form"].unique(), "os^vD*", strict=False))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for model, group in inference.groupby("contender"):
        height, ms = 100 * known[model], group["median"] / batch_size
        axis.plot(ms, [height] * len(group), color=colour(str(model)), alpha=0.4)
        for form, at in zip(group["form"], ms, strict=True):
            axis.plot(at, height, markers[form], color=colour(str(model)))
        # Ours are named on the left and anomalib's on the right, so that the names of neighbours stay apart.
        left = model in MODELS
        place = (ms.min() if left else ms.max(), height)
        style = {"ha": "right" if left else "left", "va": "center", "fontsize": 8}
        axis.annotate(str(model), place, textcoords="offset points", xytext=(-8 if left else 8, 0), **style)
    for form, marker in markers.items():
        axis.plot([], [], marker, color="grey", label=form)
    log_axis(axis)
    axis.margins(x=0.3)
    axis.set(xlabel="ms per image", ylabel=f"image AUROC (%), {setting}")
    axis.legend(fontsize=7)
    return figure
