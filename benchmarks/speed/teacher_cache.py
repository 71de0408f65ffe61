# SPDX-License-Identifier: Apache-2.0
"""What keeping the frozen teachers' maps saves: an epoch whose images were all seen before, and runs of several seeds.

    python -m benchmarks.speed teacher_cache --models PDD --size 256 --images 8 --batch 4 --set \
        backbone=wide_resnet50_2.racm_in1k second_backbone=vmamba_tiny

Each turn trains anew. *teachers for nothing* is what no cache can beat: teachers that answer at once.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import torch
import yaml
from torch import Tensor

from anomalib_fsad.cache_folder import VARIABLE
from anomalib_fsad.data.batch import FewShotBatch, FewShotItem
from anomalib_fsad.models.components.teacher_cache import Remembering, TeacherCache, remember, teacher_cache
from anomalib_fsad.registry import MODELS, load
from benchmarks.speed.subject import Case
from benchmarks.timing import its_own_figure

BASELINE = "none"
LIMIT = "teachers for nothing"

NOTES = (
    "Processor time. *Second epoch*: when everything is kept. *All seeds*: whole runs, from an empty folder. *First "
    "loss*, *last loss*: how far it is from that without a cache, relative to it. *Kept*: for an image."
)
ROUNDS = 3
BARE = {"pre_trained": False, "post_processor": False, "evaluator": False, "visualizer": False}


class Course(NamedTuple):
    """A run: the processor time of each epoch, the loss of each step, and what was kept in MiB an image."""

    seconds: list[float]
    losses: list[float]
    kept: float


class AtOnce(TeacherCache):
    """In place of a cache: maps of the right shape, without looking."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, torch.Size], list[Tensor]] = {}

    def maps(self, teacher: Remembering, images: Tensor) -> list[Tensor]:
        """Those of the first images of this shape."""
        key = (id(teacher), images.shape)
        if key not in self.known:
            self.known[key] = teacher.look(images)
        return self.known[key]


CACHES: dict[str, Callable[[], TeacherCache | None]] = {
    "none": partial(teacher_cache, "none", 4.0),
    "ram": partial(teacher_cache, "ram", 4.0),
    "disk": partial(teacher_cache, "disk", 4.0),
    "disk, half": partial(teacher_cache, "disk", 4.0, half=True),
    LIMIT: AtOnce,
}


def batches(options: argparse.Namespace) -> list[FewShotBatch]:
    """The same images each time, each with the K next ones as its supports."""
    count, size = options.images, options.size
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    supports = [images[[(i + k) % count for k in range(1, options.k_shot + 1)]] for i in range(count)]
    items = [FewShotItem(image=image, support=support) for image, support in zip(images, supports, strict=True)]
    return [FewShotBatch.collate(items[i : i + options.batch]) for i in range(0, count, options.batch)]


def teachers(model: torch.nn.Module) -> list[Remembering]:
    """The frozen networks of a model."""
    return [module for module in model.modules() if isinstance(module, Remembering)]


def run(name: str, place: str, options: argparse.Namespace, epochs: int, seed: int = 0) -> Course:
    """Train a model as Lightning would: forward, backward, optimizer."""
    given = {option: yaml.safe_load(value) for option, _, value in (text.partition("=") for text in options.set)}
    model, trained = (load(name)(image_size=options.size, seed=of, **BARE, **given).train() for of in (seed, 0))
    for own, other in zip(teachers(model), teachers(trained), strict=True):
        own.load_state_dict(other.state_dict())  # as trained weights are the same for every seed
    optimizers = model.configure_optimizers()
    optimizer = optimizers["optimizer"] if isinstance(optimizers, dict) else optimizers
    cache = CACHES[place]()
    remember(model.model, cache)
    seconds, losses = [], []
    for _epoch in range(epochs):
        began = time.process_time()
        for batch in batches(options):
            loss = model.loss(*model.distil(batch))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        seconds.append(time.process_time() - began)
    used = getattr(getattr(cache, "store", None), "used", 0)
    return Course(seconds, losses, used / 2**20 / options.images)


def second_epoch(name: str, place: str, options: argparse.Namespace) -> float:
    """Seconds of the epoch for which everything is kept."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {VARIABLE: folder}):
        return run(name, place, options, epochs=2).seconds[1]


def all_seeds(name: str, place: str, options: argparse.Namespace) -> float:
    """Seconds of whole runs of several seeds, one after the other."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {VARIABLE: folder}):
        return sum(sum(run(name, place, options, options.epochs, seed).seconds) for seed in range(options.seeds))


def deviation(name: str, place: str, options: argparse.Namespace, step: int, losses: Sequence[float]) -> float:
    """How far a step's loss is from that without a cache."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {VARIABLE: folder}):
        return abs(run(name, place, options, 2).losses[step] / losses[step] - 1)


def kept(name: str, place: str, options: argparse.Namespace) -> float:
    """MiB for an image."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {VARIABLE: folder}):
        return run(name, place, options, 1).kept


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """For each model: time, losses and room."""
    for name in options.models:
        works = {place: partial(second_epoch, name, place, options) for place in CACHES if place != "disk, half"}
        yield Case({"model": name, "what": "second epoch"}, works, its_own_figure, "s", warm_up=0)
        places = [place for place in CACHES if place not in {"ram", "disk, half"}]
        works = {place: partial(all_seeds, name, place, options) for place in places}
        if options.seeds:
            yield Case({"model": name, "what": "all seeds"}, works, its_own_figure, "s", warm_up=0)
        losses = run(name, "none", options, 2).losses
        for what, step in (("first loss", 0), ("last loss", -1)):
            works = {place: partial(deviation, name, place, options, step, losses) for place in ("disk", "disk, half")}
            yield Case({"model": name, "what": what}, works, its_own_figure, "of the loss", warm_up=0)
        works = {place: partial(kept, name, place, options) for place in ("disk", "disk, half")}
        yield Case({"model": name, "what": "kept"}, works, its_own_figure, "MiB", warm_up=0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The models and the size of their epochs."""
    parser.add_argument("--models", nargs="+", default=sorted(MODELS), choices=sorted(MODELS), help="all by default")
    parser.add_argument(
        "--set",
        nargs="+",
        default=["backbone=resnet18"],
        metavar="ARGUMENT=VALUE",
        help="further arguments of the models",
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--k_shot", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=4, help="of a run of all seeds")
    parser.add_argument("--seeds", type=int, default=3, help="0 leaves them out")
