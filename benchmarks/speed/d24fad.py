# SPDX-License-Identifier: Apache-2.0
"""D24FAD's speed: inference against the authors' evaluation loop, and the two training modes."""

import argparse
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from anomalib_fsad.models.components import gaussian_blur, pixel_cosine_distance, summed_map
from anomalib_fsad.models.d24fad import D24FADModel
from anomalib_fsad.models.d24fad.learn_to_weight import weigh_support
from anomalib_fsad.models.d24fad.loss import D24FADLoss
from anomalib_fsad.models.d24fad.partners import partners_in_batch
from benchmarks.speed.subject import Case, add_sizes, timed_and_weighed
from benchmarks.timing import by_the_clock

OURS, AUTHORS = "ours", "authors"

NOTES = (
    "*Inference*: ours encodes the K supports once; the authors' loop, in a plain transcription, encodes them "
    "again for every query of every batch (same scores to 1e-5). *Training step*: ours is "
    "`support_mode: in_batch`, theirs `support_mode: episode` (the paper's). Milliseconds are an image's."
)
BASELINE = AUTHORS


@torch.no_grad()
def as_published(model: D24FADModel, images: Tensor, supports: Tensor) -> Tensor:
    """The authors' test loop, plainly: each test batch encodes its K supports again, once for every query."""
    student = model.decode(model.teacher(images)[-1])
    decoded = []
    for support in supports:
        repeated = support.expand(len(images), -1, -1, -1)
        decoded.append(model.decode(model.teacher(repeated)[-1]))
    values = [torch.stack([maps[scale] for maps in decoded], dim=1) for scale in range(3)]
    blended = [weigh_support(q, k, v)[0] for q, k, v in zip(student, model.l2w.keys(values), values, strict=True)]
    distances = [pixel_cosine_distance(q, r) for q, r in zip(student, blended, strict=True)]
    return gaussian_blur(summed_map(distances, images.shape[-2:]), model.sigma).amax(dim=(1, 2, 3))


def step_in_batch(model: D24FADModel, loss: D24FADLoss, images: Tensor, partners: Tensor) -> None:
    """A training step in which the other images of the batch are the supports."""
    loss(*model.in_batch(images, partners))["loss"].backward()
    model.zero_grad()


def step_episode(model: D24FADModel, loss: D24FADLoss, images: Tensor, support: Tensor) -> None:
    """A training step in which every image has K supports of its own."""
    loss(*model.episode(images, support))["loss"].backward()
    model.zero_grad()


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Inference and training at each K."""
    device, size, batch = torch.device(options.device), options.size, options.batch
    clock, loss = by_the_clock(device), D24FADLoss()
    model = D24FADModel(options.backbone, pre_trained=False).to(device)
    images = torch.rand(batch, 3, size, size, device=device)
    for shots in options.k_shot:
        supports = torch.rand(shots, 3, size, size, device=device)
        model.eval()
        model.set_support(supports)
        scores = model(images).pred_score
        torch.testing.assert_close(scores, as_published(model, images, supports), atol=1e-5, rtol=1e-4)
        works = {OURS: partial(model, images), AUTHORS: partial(as_published, model, images, supports)}
        yield from timed_and_weighed({"what": "inference", "K": shots}, works, clock, device, batch)
        model.train()
        support = torch.rand(batch, shots, 3, size, size, device=device)
        partners = partners_in_batch([""] * batch, shots, torch.Generator().manual_seed(0)).to(device)
        works = {
            OURS: partial(step_in_batch, model, loss, images, partners),
            AUTHORS: partial(step_episode, model, loss, images, support),
        }
        yield from timed_and_weighed({"what": "training step", "K": shots}, works, clock, device, batch)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes and device."""
    add_sizes(parser)
    parser.add_argument("--k_shot", type=int, nargs="+", default=[2, 4, 8])
