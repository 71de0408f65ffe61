# SPDX-License-Identifier: Apache-2.0
"""The worst images of every model as pictures for a page."""

import io
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from anomalib_fsad.compare.mistakes import EACH, SIDE, Mistakes
from anomalib_fsad.compare.page import Block, Heading, Shown, Text
from anomalib_fsad.compare.reading import Results

mpl.use("Agg")
from matplotlib import pyplot as plt

WORDS = (
    f"On the left the {EACH} normal images that a model finds strangest, on the right the {EACH} abnormal ones that it "
    "finds most usual, with its map over each: yellow is half of, and red more than, the highest value on any normal "
    "image. Below each, the share of the test set that scores lower."
)


def mistake_blocks(results: Results) -> list[Block]:
    """A part of a page: one picture for each setting and target, a row for each model; empty if nothing was kept."""
    pictures = list(_pictures(results))
    return [Heading("Worst images"), Text(WORDS), *pictures] if pictures else []


def _pictures(results: Results) -> Iterator[Block]:
    rows = results.rows[results.rows.index.isin(results.worst) & (results.rows["evaluation"] == "held_out")]
    for (setting, target), group in rows.groupby(["setting", "target"], sort=False):
        first = group.sort_values("seed").groupby("model", sort=False).head(1)
        kept = {str(row["model"]): results.worst[int(str(place))] for place, row in first.iterrows()}
        yield Shown(drawn(kept), f"{target}, {setting}")


def drawn(models: dict[str, Mistakes]) -> bytes:
    """A png, a row for each model."""
    figure, axes = plt.subplots(len(models), 2 * EACH, figsize=(2 * EACH * 1.3, 1.65 * len(models)), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, (model, worst) in zip(axes, models.items(), strict=True):
        line[0].set_title(model, fontsize=7, loc="left")
        places = {0: iter(line[:EACH]), 1: iter(line[EACH:])}
        for label, rank, picture, heat in zip(worst.labels, worst.ranks, worst.pictures, worst.maps, strict=True):
            axis = next(places[int(label)])
            axis.imshow(picture)
            axis.imshow(_stretched(heat), cmap="autumn_r", alpha=_opacity(_stretched(heat)), vmin=0.5, vmax=1.2)
            axis.text(0.5, -0.02, f"{100 * rank:.0f} %", fontsize=6, ha="center", va="top", transform=axis.transAxes)
    content = io.BytesIO()
    figure.tight_layout(pad=0.3)
    figure.savefig(content, dpi=90)
    plt.close(figure)
    return content.getvalue()


def _opacity(heat: Any) -> Any:
    return 0.6 * np.clip((heat - 0.3) / 0.5, 0, 1)


def _stretched(heat: Any) -> Any:
    return np.asarray(Image.fromarray(heat).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
