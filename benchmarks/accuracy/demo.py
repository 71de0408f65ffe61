# SPDX-License-Identifier: Apache-2.0
"""Which options of D24FAD the demo takes: those that do best on the organs that the demo does not test.

Each drawn organ but the demo's own is left out in turn, as the demo does it.
"""

from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from rich.progress import track

from anomalib_fsad.commands.demo import ORGANS, measure, ours
from anomalib_fsad.compare.page import Block, Table, Text
from anomalib_fsad.models.components.weights import offer_to_timm
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

CANDIDATES: dict[str, dict[str, Any]] = {
    "aligned, as published": {"matching": "aligned", "spaces": ["student"], "augment_support": False},
    "nearest, student": {"spaces": ["student"]},
    "nearest, teacher": {"spaces": ["teacher"]},
    "nearest, teacher, supports as they are": {"spaces": ["teacher"], "augment_support": False},
    "nearest, teacher, calibrated": {"spaces": ["teacher"], "calibrate": True},
    "nearest, teacher + residual + student, calibrated": {
        "spaces": ["teacher", "residual", "student"],
        "calibrate": True,
    },
}

FIGURES = ("image AUROC", "pixel AUROC", "hottest pixel in the lesion")


def main(arguments: Sequence[str]) -> None:
    """Write the table: the mean of each figure over the organs."""
    parser = parser_of("accuracy demo", __doc__)
    add_place(parser, "accuracy")
    options = parser.parse_args(arguments)
    offer_to_timm()
    cases = [(name, organ) for name in CANDIDATES for organ in ORGANS[1:]]
    rows = []
    with TemporaryDirectory() as folder:
        for name, organ in track(cases, "Candidates"):
            where = Namespace(out=Path(folder), target=organ, support_seed=0)
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                figures, _ = measure(ours(**CANDIDATES[name], visualizer=False), where)
            rows.append({"options": name, "organ": organ, **dict(zip(FIGURES, figures, strict=True))})
    every = pd.DataFrame(rows)
    means = every.groupby("options", sort=False)[list(FIGURES)].mean()
    means["mean of the three"] = means.mean(axis=1)
    blocks: list[Block] = [
        made_with(command(parser.prog, arguments)),
        Text(f"Means over {', '.join(ORGANS[1:])}; K = 4."),
    ]
    write(
        options.results,
        "demo",
        "Options of the demo, by the other organs",
        every,
        [*blocks, Table.of(means.reset_index())],
    )
