# SPDX-License-Identifier: Apache-2.0
"""What two ways of evaluating are worth, on one and the same anomaly maps of a model that blurs them, such as D24FAD.

1. A Gaussian over an array [batch, H, W] blurs across the images of a batch. In a test list ordered by class, an
   image then gets a share of its neighbours' maps, and with it of their label.
2. Scoring the first image of each batch of ten, with the largest label of the batch, leaves one verdict in ten.

    python -m benchmarks.accuracy leaks D24FAD --root DATA --targets aptos --k_shot 4 --checkpoint last --runs results
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad.compare.cells import Cell
from anomalib_fsad.compare.metrics import to_unit
from anomalib_fsad.compare.page import Table, Text
from anomalib_fsad.compare.report import pm
from benchmarks.accuracy.trained import add_runs, chosen_runs, test_batches, tested_on, trained
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

Maps = NDArray[np.float32]
Labels = NDArray[np.int64]

NOTES = "AUROC in per cent, by target and on average; ± over seeds."
SIGMA = 4.0
NO_BLUR = 0.2
"""A Gaussian this narrow leaves a map as it is, within 2e-5 of its range."""


def scores_each(maps: Maps) -> Maps:
    """Each image blurred by itself; the largest value: N x H x W -> N."""
    return np.stack([gaussian_filter(m, SIGMA) for m in maps]).max(axis=(1, 2))


def scores_across(maps: Maps, batch_size: int) -> Maps:
    """Blurred across the images of a batch as well: N x H x W -> N."""
    batches = [maps[i : i + batch_size] for i in range(0, len(maps), batch_size)]
    return np.concatenate([gaussian_filter(batch, SIGMA).max(axis=(1, 2)) for batch in batches])


def first_of_each(scores: Maps, labels: Labels, batch_size: int) -> tuple[Maps, Labels]:
    """The first score of each batch, and the largest label in it."""
    starts = range(0, len(scores), batch_size)
    return scores[::batch_size], np.array([labels[i : i + batch_size].max() for i in starts])


def auroc(scores: Maps, labels: Labels) -> float:
    """torchmetrics', of scores of any range."""
    return binary_auroc(to_unit(torch.from_numpy(scores)), torch.from_numpy(labels)).item()


def compare(maps: Maps, labels: Labels, batch_size: int, seed: int) -> dict[str, float]:
    """The AUROC of the same maps, evaluated in each of the ways."""
    ordered = np.argsort(labels, kind="stable")
    mixed = np.random.default_rng(seed).permutation(len(labels))
    single = scores_each(maps)
    return {
        "each image by itself": auroc(single, labels),
        "blurred across, by class": auroc(scores_across(maps[ordered], batch_size), labels[ordered]),
        "blurred across, shuffled": auroc(scores_across(maps[mixed], batch_size), labels[mixed]),
        "one in ten, by class": auroc(*first_of_each(single[ordered], labels[ordered], 10)),
        "blurred across and one in ten, by class": auroc(
            *first_of_each(scores_across(maps[ordered], batch_size), labels[ordered], 10)
        ),
    }


def sharp_maps(model: Any, datamodule: Any) -> tuple[Maps, Labels]:
    """Test maps before the blur, N x H x W, and the labels.

    Args:
        model: trained; one with a sigma, that of its last blur.
        datamodule: set up for a test.
    """
    model.use_support(list(next(iter(datamodule.support_dataloader())).image))
    model.model.sigma = NO_BLUR
    maps, labels = [], []
    for images, given in test_batches(model, datamodule):
        maps.append(model.model(images).anomaly_map[:, 0])
        labels.append(given)
    return torch.cat(maps).numpy(), torch.cat(labels).long().numpy()


def summary(results: pd.DataFrame) -> Table:
    """AUROC in per cent, by target and on average; ± over seeds."""
    ways = [c for c in results.columns if c not in Cell.__dataclass_fields__]
    groups = [*results.groupby("target"), ("mean", results.groupby("seed")[ways].mean())]
    return Table(
        ["target", *ways],
        [[str(name), *(pm(rows[way].mean(), rows[way].std()) for way in ways)] for name, rows in groups],
    )


def main(arguments: Sequence[str]) -> None:
    """Run the cells and write the table."""
    parser = parser_of("accuracy leaks", __doc__)
    add_runs(parser)
    parser.add_argument("--batch_size", type=int, default=16, help="of the test list")
    add_place(parser, "accuracy")
    options = parser.parse_args(arguments)
    rows = []
    for cell in chosen_runs(options):
        maps, labels = sharp_maps(trained(cell, options), tested_on(cell))
        rows.append({**cell.key, **compare(maps, labels, options.batch_size, cell.seed)})
        print(rows[-1], flush=True)
        results = pd.DataFrame(rows)  # written after each cell: an interruption loses no more than one
        blocks = [made_with(command(parser.prog, arguments)), Text(NOTES), summary(results)]
        write(options.results, "leaks", "Two ways of evaluating, on the same maps", results, blocks)
