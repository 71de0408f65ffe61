# SPDX-License-Identifier: Apache-2.0
r"""D24FAD against what it was trained on: how many normal images of each source organ, and how many source organs.

The length is the same number of steps for every amount, those that ``--max_epochs`` would be with all images, so that
what is measured is the images and not the training. The organs are added in their order, from the one after the target
on, so that each target begins with another.

    python -m benchmarks.accuracy sources configs/model/d24fad.yaml configs/model/d24fad_nearest.yaml --root DATA \
        --targets brain_mri head_ct chest_xray --k_shot 4 --checkpoint last --max_epochs 15 --runs results/sources
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from anomalib_fsad.compare.building import Teachers
from anomalib_fsad.compare.cells import Cell
from anomalib_fsad.compare.page import Block, Table, Text
from anomalib_fsad.compare.report import pm
from anomalib_fsad.compare.running import run_cells
from anomalib_fsad.compare.store import Store
from anomalib_fsad.images.listing import images_in
from benchmarks.accuracy.trained import add_runs, chosen_runs
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

NORMAL = Path("train") / "good"
FEWEST = 12
"""Of these, the datamodule keeps up to ``val_images`` for validation."""

NOTES = (
    "Image AUROC in per cent, the mean over targets; ± over seeds. The normal training images of a source organ are "
    "the first of its list; some of them are held out for validation."
)


class Amount(NamedTuple):
    """What a student is trained on.

    Attributes:
        curve: which of the two is varied.
        organs: names of the source organs.
        images: normal training images of each, at most.
    """

    curve: str
    organs: tuple[str, ...]
    images: int

    @property
    def name(self) -> str:
        """Of a folder."""
        return f"{self.images}-{'-'.join(self.organs)}"


def amounts(organs: Sequence[str], images: Sequence[int], most: int) -> Iterator[Amount]:
    """All organs with ever more images, then ever more organs with all images.

    Example:
        >>> [amount.organs for amount in amounts(["b", "a"], [], 60)]
        [('b',), ('a', 'b')]
    """
    for count in images:
        yield Amount("images of each organ", tuple(sorted(organs)), count)
    for count in range(1, len(organs) + 1):
        yield Amount("organs", tuple(sorted(organs[:count])), most)


def linked(root: Path, folder: Path, images: int, whole: str | None = None) -> dict[str, int]:
    """A copy of a root, made of links, with the first training images of each organ; how many each has there.

    Args:
        root: what is copied.
        folder: the copy.
        images: how many.
        whole: an organ that keeps all: the target, whose supports are drawn from them.
    """
    counts = {}
    for organ in sorted(path for path in root.iterdir() if (path / NORMAL).is_dir()):
        place = folder / organ.name
        kept = images_in(organ / NORMAL)[: None if organ.name == whole else images]
        counts[organ.name] = len(kept)
        (place / NORMAL).mkdir(parents=True, exist_ok=True)
        for file in kept:
            _link(place / NORMAL / file.name, file)
        _link(place / "test", organ / "test")
    return counts


def _link(place: Path, target: Path) -> None:
    if not place.is_symlink():
        place.symlink_to(target.resolve())


def given(cell: Cell, amount: Amount, root: Path, share: float) -> Cell:
    """A cell that trains on that amount, for as many steps as with all images."""
    cell = deepcopy(cell)
    cell.data_config["init_args"] |= {"root": str(root), "source_categories": list(amount.organs)}
    epochs = max(1, round(cell.training["max_epochs"] / share))
    cell.model_config["init_args"]["max_epochs"] = epochs
    return replace(cell, training={**cell.training, "max_epochs": epochs})


def table_of(rows: pd.DataFrame) -> Table:
    """A line an amount."""
    models = sorted(rows["model"].unique())
    lines = []
    for (curve, amount), group in rows.groupby(["curve", "amount"]):
        by_seed = group.groupby(["model", "seed"])["image_AUROC"].mean()
        cells = [pm(by_seed[model].mean(), by_seed[model].std()) for model in models]
        lines.append([str(curve), str(amount), f"{group['images'].mean():.0f}", *cells])
    return Table(["what varies", "how many", "images in all", *models], lines)


def plot(rows: pd.DataFrame) -> Figure:
    """AUROC against each of the two."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for place, (curve, part) in enumerate(rows.groupby("curve", sort=False)):
        axes = figure.add_subplot(1, 2, place + 1)
        for model, own in part.groupby("model"):
            mean = 100 * own.groupby("amount")["image_AUROC"].mean()
            axes.plot(mean.index, mean, marker="o", label=model)
        axes.set(xlabel=f"source {curve}", ylabel="image AUROC, per cent")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def main(arguments: Sequence[str]) -> None:
    """Train and test what is missing, and write table and plot."""
    parser = parser_of("accuracy sources", __doc__)
    add_runs(parser)
    parser.add_argument("--images", nargs="+", type=int, default=[15, 25, 40], help="of each organ")
    add_place(parser, "accuracy")
    options = parser.parse_args(arguments)
    if options.max_epochs is None:
        parser.error("--max_epochs: say how long with all images, 15, for instance")
    if min(options.images) < FEWEST:
        parser.error(f"--images {min(options.images)}: with fewer than {FEWEST} none may be left to train on")
    root, rows = Path(options.root), []
    cells = chosen_runs(options)
    everything = {path.name: len(images_in(path / NORMAL)) for path in root.iterdir() if (path / NORMAL).is_dir()}
    most = max(everything.values())
    # The trainings are kept by options, and the root is none of them: a folder for each amount.
    for target in options.targets:
        after = sorted(everything, key=lambda organ: (organ <= target, organ))
        organs = [organ for organ in after if organ != target]
        places = {count: options.runs / "root" / f"{count}-{target}" for count in (*options.images, most)}
        counts = {count: linked(root, place, count, target) for count, place in places.items()}
        for amount in amounts(organs, options.images, most):
            trained_on = sum(counts[amount.images][organ] for organ in amount.organs)
            share = trained_on / sum(everything[organ] for organ in organs)
            todo = [given(cell, amount, places[amount.images], share) for cell in cells if cell.target == target]
            store = Store(options.runs / amount.name)
            run_cells(todo, store, Teachers(options.pre_trained, options.runs / "weights"))
            size = len(amount.organs) if amount.curve == "organs" else amount.images
            known = {"curve": amount.curve, "amount": size, "images": trained_on}
            rows += [{**known, **store.row(cell)} for cell in todo if store.finished(cell)]
    table = pd.DataFrame(rows)
    blocks: list[Block] = [made_with(command(parser.prog, arguments)), Text(NOTES), table_of(table)]
    write(options.results, "sources", "D24FAD against what it was trained on", table, blocks, plot(table))
