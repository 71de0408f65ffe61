# SPDX-License-Identifier: Apache-2.0
"""How time and memory grow: with K, the size of images, the number of source files and the patches of a support bank.

    python -m benchmarks.speed growth --lines shots sizes bank
    python -m benchmarks.speed growth --lines files --files 100 1000 10000 100000

Files are hard links to an image of 64 pixels for each of ten organs, so that a set of 100,000 files is made in seconds
and decoding costs as little as it can: what is measured is the datamodule's own work on each file, and one decoding.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from anomalib_fsad.data import MedicalFewShot
from anomalib_fsad.models.d24fad.nearest_model import NearestModel
from anomalib_fsad.models.d24fad.torch_model import D24FADModel
from benchmarks.speed.subject import Case
from benchmarks.timing import its_own_figure, processor_time, tensor_peak

NOTES = (
    "Processor time, and what tensors hold at most (MiB). *Exponent*: the slope in the logarithms over the upper half "
    "of each line; 1 is a straight line. Scoring is of one image; enrolment, of all K; setup, of all files, by the "
    "clock."
)
ROUNDS = 5
ORGANS = 10
LINES = ("shots", "sizes", "bank", "files")
FORMS: dict[str, Callable[..., D24FADModel]] = {
    "aligned": D24FADModel,
    "nearest": partial(NearestModel, spaces=["student", "teacher"]),
}


def enrolled(form: str, backbone: str, shots: int, size: int) -> tuple[D24FADModel, torch.Tensor]:
    """A model that holds K supports, and these."""
    model = FORMS[form](backbone, pre_trained=False).eval()
    supports = torch.rand(shots, 3, size, size, generator=torch.Generator().manual_seed(0))
    model.set_support(supports)
    return model, supports


def scoring(part: str, value: int, shots: int, size: int, options: argparse.Namespace) -> Iterator[Case]:
    """One point of the lines of each form: enrolment, and the score of an image."""
    image = torch.rand(1, 3, size, size)
    models = {form: enrolled(form, options.backbone, shots, size) for form in FORMS}
    for what, works in (
        ("enrolment", {form: partial(model.set_support, supports) for form, (model, supports) in models.items()}),
        ("scoring", {form: partial(model, image) for form, (model, _) in models.items()}),
    ):
        columns = {"part": part, "value": value, "what": what}
        yield Case(columns, works, processor_time(), "ms")
        yield Case(columns, works, tensor_peak(), "MiB", warm_up=0)


def bank_search(patches: int) -> Iterator[Case]:
    """One image's patches against a bank of so many, without a limit by a coreset."""
    from anomalib_fsad.models.d24fad.nearest import nearest_patches

    generator = torch.Generator().manual_seed(0)
    maps, bank = torch.rand(1, 64, 32, 32, generator=generator), torch.rand(patches, 64, generator=generator)
    works = {"nearest": partial(nearest_patches, maps, bank)}
    for measure, unit in ((processor_time(), "ms"), (tensor_peak(), "MiB")):
        yield Case({"part": "bank", "value": patches, "what": "search"}, works, measure, unit)


def setup_seconds(count: int) -> float:
    """The datamodule's setup on a new set of so many training files."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made_of_links(root, count)
        data: Any = MedicalFewShot(root / "data", target="organ0", num_workers=0)
        began = time.perf_counter()
        data.setup()
        return time.perf_counter() - began


def made_of_links(root: Path, count: int) -> None:
    """``count`` training files in ten organs, and a few test files."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for organ in range(ORGANS):
        one = root / f"{organ}.png"  # a file takes 65,000 links at most
        Image.fromarray(pixels).save(one)
        for kind, files in (("train/good", count // ORGANS), ("test/good", 5), ("test/bad", 5)):
            place = root / "data" / f"organ{organ}" / kind
            place.mkdir(parents=True)
            for number in range(files):
                os.link(one, place / f"{number:06}.png")


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Every point of every line."""
    if "shots" in options.lines:
        for shots in options.shots:
            yield from scoring("shots", shots, shots, options.size, options)
    if "sizes" in options.lines:
        for size in options.sizes:
            yield from scoring("sizes", size, options.k, size, options)
    if "bank" in options.lines:
        for patches in options.patches:
            yield from bank_search(patches)
    if "files" in options.lines:
        for count in options.files:
            columns = {"part": "files", "value": count, "what": "setup"}
            yield Case(columns, {"datamodule": partial(setup_seconds, count)}, its_own_figure, "s", warm_up=0)


def exponent(line: pd.DataFrame) -> float:
    """The slope in the logarithms, over the upper half."""
    upper = line.sort_values("value").iloc[len(line) // 2 :]
    return float(np.polyfit(np.log(upper["value"]), np.log(upper["median"]), 1)[0]) if len(upper) > 1 else float("nan")


def draw(rows: pd.DataFrame, options: argparse.Namespace) -> Figure:
    """A panel for each part and unit, with logarithms on both axes."""
    del options
    panels = [(part, unit) for part in LINES for unit in ("s", "ms", "MiB")]
    panels = [(p, u) for p, u in panels if ((rows["part"] == p) & (rows["unit"] == u)).any()]
    figure = Figure(figsize=(4 * len(panels), 3.5), layout="constrained")
    for axis, (part, unit) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        shown = rows[(rows["part"] == part) & (rows["unit"] == unit)]
        for (what, contender), line in shown.groupby(["what", "contender"], sort=False):
            axis.plot(line["value"], line["median"], "o-", label=f"{what}, {contender}: {exponent(line):.2f}")
        axis.set(xscale="log", yscale="log", xlabel=part, ylabel=unit)
        axis.legend(fontsize=7, title="exponent", title_fontsize=7)
    return figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The lines and their points."""
    parser.add_argument("--lines", nargs="+", default=list(LINES), choices=LINES)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=128, help="of images where K grows")
    parser.add_argument("--k", type=int, default=4, help="K where images grow")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--patches", type=int, nargs="+", default=[256, 1024, 4096, 16384, 65536])
    parser.add_argument("--files", type=int, nargs="+", default=[100, 1000, 10000, 100000])
