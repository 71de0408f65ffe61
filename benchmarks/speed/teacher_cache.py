# SPDX-License-Identifier: Apache-2.0
"""What keeping the frozen teachers' features saves: the time of an epoch whose images were all seen before.

    python -m benchmarks.speed teacher_cache --set backbone=wide_resnet50_2.racm_in1k \
        second_backbone=vmamba_tiny --size 256 --images 8 --batch 4

Each turn trains two epochs anew and counts the second, in processor time.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import yaml
from anomalib.data import ImageBatch, ImageItem
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from anomalib_fsad.registry import MODELS, load
from benchmarks.speed.subject import Case
from benchmarks.timing import its_own_figure

PLACES = ("none", "ram", "disk")

NOTES = "Processor time of the second epoch of a training run, when the cache is full."
BASELINE = PLACES[0]
ROUNDS = 3


class EpochTimes(Callback):
    """Processor time of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self.began = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        del trainer, pl_module
        self.seconds.append(time.process_time() - self.began)


def second_epoch(place: str, options: argparse.Namespace, given: dict[str, Any]) -> float:
    """Seconds of the epoch for which everything is kept."""
    bare = {"post_processor": False, "evaluator": False, "visualizer": False}
    model = load(options.model)(pre_trained=False, image_size=options.size, cache_teachers=place, **bare, **given)
    images = torch.rand(options.images, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    items = [ImageItem(image=image) for image in images]
    loader = DataLoader(items, batch_size=options.batch, collate_fn=ImageBatch.collate)
    times = EpochTimes()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    Trainer(max_epochs=2, accelerator="cpu", devices=1, callbacks=[times], **quiet).fit(model, loader)
    return times.seconds[1]


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """One row: every place that features can be kept in."""
    given = {name: yaml.safe_load(value) for name, _, value in (option.partition("=") for option in options.set)}
    works = {place: partial(second_epoch, place, options, given) for place in PLACES}
    yield Case({"what": "second epoch"}, works, its_own_figure, "s", warm_up=0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model and the size of its epoch."""
    parser.add_argument("--model", default="PDD", choices=sorted(MODELS), help="one that takes cache_teachers")
    parser.add_argument(
        "--set",
        nargs="+",
        default=["backbone=resnet18", "second_backbone=vmamba_atto"],
        metavar="ARGUMENT=VALUE",
        help="further arguments of the model",
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
