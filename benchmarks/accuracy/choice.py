# SPDX-License-Identifier: Apache-2.0
r"""What choosing D24FAD's options is worth, when a target's options are chosen on the other organs alone.

``matching=nearest`` can look in any of three spaces, calibrate or not, and read a map in four ways. Each of these
choices is scored on every target by the trainings that ``anomalib-fsad compare`` left. The options of a target are then
those that are best on the mean over the *other* targets, so that no label of its own has a say in them.

    python -m benchmarks.accuracy choice configs/model/d24fad_nearest.yaml --root DATA --targets brain_mri head_ct \
        --k_shot 4 --checkpoint last --runs results/few_shot
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad.compare.metrics import to_unit
from anomalib_fsad.compare.page import Block, Table, Text
from anomalib_fsad.models.components import image_score
from anomalib_fsad.models.d24fad.nearest import SPACES, nearest_patches
from anomalib_fsad.models.d24fad.patch_bank import Bank, bank_of
from anomalib_fsad.models.d24fad.views import views
from benchmarks.accuracy.trained import add_runs, chosen_runs, test_batches, tested_on, trained
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

READINGS = ("max", "top1p", "top10p", "mean")
OPTIONS = ["spaces", "calibrate", "image_score"]

NOTES = (
    "Image AUROC in per cent, the mean over seeds. *chosen elsewhere*: the options that are best on the mean over the "
    "other targets, all K and seeds. *as in the file*: the options of the recipe, the same for every target."
)


class Seen(NamedTuple):
    """What the images of a test set have in each level of all spaces.

    Attributes:
        distances: to the nearest patch of the supports, N x h x w a level.
        usual: the same among the supports, a number a level.
        labels: N.
    """

    distances: list[Tensor]
    usual: list[Tensor]
    labels: Tensor


@torch.no_grad()
def look(model: Any, datamodule: Any) -> Seen:
    """Compare the test images with the supports, in all spaces.

    Args:
        model: trained.
        datamodule: set up for a test.
    """
    network = model.model
    bank = network_bank(network, model.pre_processor(next(iter(datamodule.support_dataloader())).image))
    parts, labels = [], []
    for images, given in test_batches(model, datamodule):
        found = zip(network.levels(images), bank.levels, strict=True)
        parts.append([nearest_patches(maps, level.patches).distance for maps, level in found])
        labels.append(given)
    distances = [torch.cat(level) for level in zip(*parts, strict=True)]
    return Seen(distances, [level.usual for level in bank.levels], torch.cat(labels).int())


def network_bank(network: Any, images: Tensor) -> Bank:
    """As the model's own, with what a calibration would divide by."""
    seen = views(images)
    levels = [maps.unflatten(0, seen.shape[:2]) for maps in network.levels(seen.flatten(0, 1))]
    return bank_of(levels, (images.shape[-2], images.shape[-1]), calibrate=True)


def scored(seen: Seen, network: Any, size: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The AUROC of every choice of options."""
    places, start = {}, 0
    for space in network.spaces:
        places[space] = range(start, start + SPACES[space])
        start += SPACES[space]
    for count, calibrate in product(range(1, len(places) + 1), (False, True)):
        for spaces in combinations(places, count):
            chosen = [level for space in spaces for level in places[space]]
            scaled = [seen.distances[i].unsqueeze(1) / (seen.usual[i] if calibrate else 1) for i in chosen]
            anomaly_map = network.scored(scaled, size).anomaly_map
            for reading in READINGS:
                value = binary_auroc(to_unit(image_score(anomaly_map, reading)), seen.labels).item()
                yield {"spaces": "+".join(spaces), "calibrate": calibrate, "image_score": reading, "image_AUROC": value}


def nested(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each target, the rows with the options that are best on the mean over the other targets."""
    parts = []
    for target, own in rows.groupby("target"):
        others = rows[rows["target"] != target].groupby(OPTIONS)["image_AUROC"].mean()
        best = dict(zip(OPTIONS, others.idxmax(), strict=True))
        parts.append(own[(own[OPTIONS] == pd.Series(best)).all(axis=1)])
    return pd.concat(parts)


def blocks_of(rows: pd.DataFrame, fixed: dict[str, Any]) -> list[Block]:
    """The table: a line for each target, and their mean."""
    elsewhere = nested(rows)
    of_file = rows[(rows[OPTIONS] == pd.Series(fixed)).all(axis=1)]
    shots = sorted(rows["k_shot"].unique())
    header = ["target", "chosen elsewhere", *(f"K = {k}" for k in shots), *(f"K = {k}, as in the file" for k in shots)]
    lines = []
    for target, group in [*elsewhere.groupby("target"), ("mean", elsewhere)]:
        first = group.iloc[0]
        calibrated = ", calibrated" if first["calibrate"] else ""
        options = "" if target == "mean" else f"{first['spaces']}{calibrated}, {first['image_score']}"
        theirs = of_file if target == "mean" else of_file[of_file["target"] == target]
        cells = [100 * part.loc[part["k_shot"] == k, "image_AUROC"].mean() for part in (group, theirs) for k in shots]
        lines.append([str(target), options, *(f"{cell:.1f}" for cell in cells)])
    own = rows.groupby(["target", *OPTIONS])["image_AUROC"].mean().groupby("target").max().mean()
    means = 100 * rows.groupby(OPTIONS)["image_AUROC"].mean()
    words = (
        f"Of all {len(means)} choices of options, the same for every target, the worst has {means.min():.1f}, the "
        f"median {means.median():.1f} and the best {means.max():.1f}; those of the file have "
        f"{means[tuple(fixed[name] for name in OPTIONS)]:.1f}. Chosen for each target by its own test labels, as many "
        f"papers do, they would have {100 * own:.1f}; chosen on the other targets they have "
        f"{100 * elsewhere['image_AUROC'].mean():.1f}."
    )
    return [Text(NOTES), Table(header, lines), Text(words)]


def main(arguments: Sequence[str]) -> None:
    """Score every choice and write the table."""
    parser = parser_of("accuracy choice", __doc__)
    add_runs(parser)
    add_place(parser, "accuracy")
    options = parser.parse_args(arguments)
    rows, given = [], {}
    for cell in chosen_runs(options):
        given = dict(cell.model_config["init_args"])
        cell.model_config["init_args"]["spaces"] = list(SPACES)
        model, size = trained(cell, options), (cell.training["image_size"],) * 2
        rows += [{**cell.key, **row} for row in scored(look(model, tested_on(cell)), model.model, size)]
        print(cell.name, flush=True)
    fixed = {
        "spaces": "+".join(space for space in SPACES if space in given["spaces"]),
        "calibrate": given.get("calibrate", False),
        "image_score": given.get("image_score", "max"),
    }
    table = pd.DataFrame(rows)
    blocks = [made_with(command(parser.prog, arguments)), *blocks_of(table, fixed)]
    write(options.results, "choice", "D24FAD's options, chosen on the other organs", table, blocks)
