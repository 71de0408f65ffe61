# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD's training step against a plain transcription of the authors': the spoiled images through everything, or not.

Ours makes its noise within the step; theirs is handed the spoiled images.
"""

import argparse
import copy
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalib_fsad import SCRD4AD
from benchmarks.speed.subject import Case, add_sizes, timed_and_weighed
from benchmarks.timing import processor_time

OURS, AUTHORS = "ours", "authors"

NOTES = (
    "A whole step (forward, backward, Adam), in processor time on a CPU. *authors* is a plain transcription of "
    "their step: clean and spoiled images through teacher, bottleneck, decoder and head; it is handed the spoiled "
    "images. Ours passes them through the teacher alone, and makes the noise within the step."
)
BASELINE = AUTHORS
add_arguments = add_sizes


def step_as_published(model: SCRD4AD, optimizer: torch.optim.Optimizer, images: Tensor, noisy: Tensor) -> Tensor:
    """The authors' step, plainly: both images pass teacher, bottleneck, decoder and head; w is inside the cosine."""
    network = model.model
    outputs = []
    for batch in (images, noisy):
        features = network.teacher(batch)
        code = network.bottleneck(features)
        weights = network.log_scale_weights(code).exp()  # B 3
        outputs.append((features, network.decoder(code), weights))
    (clean, student, weights), (spoiled, _, _) = outputs
    sums = []
    for features in (clean, spoiled):
        total = torch.zeros((), device=images.device)
        for scale, (f, s) in enumerate(zip(features, student, strict=True)):
            w = weights[:, scale, None]
            total = total + (1 - F.cosine_similarity(w * f.flatten(1), w * s.flatten(1))).mean()
        sums.append(total)
    return descend(sums[0] / sums[1], optimizer)


def step(model: SCRD4AD, optimizer: torch.optim.Optimizer, images: Tensor, noisy: Tensor | None = None) -> Tensor:
    """Ours; the noise is made here unless it is given."""
    maps = model.model(images, model.spoil(images) if noisy is None else noisy)
    return descend(model.loss(*maps)["loss"], optimizer)


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """What both steps end with."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Each form of weighting."""
    device, size = torch.device(options.device), options.size
    images = torch.rand(options.batch, 3, size, size, device=device)
    build = partial(SCRD4AD, options.backbone, pre_trained=False, image_size=size)
    for weighting in ("outside", "none"):
        ours = build(scale_weighting=weighting).to(device).train()
        theirs = build(scale_weighting="outside").to(device).train()
        theirs.model.load_state_dict(ours.model.state_dict())
        noisy = theirs.spoil(images)
        if weighting == "none":  # the same loss, whatever the weights: they cancel within the cosine
            losses = [
                run(copy.deepcopy(model), torch.optim.SGD(model.parameters(), 0.0), images, noisy)
                for run, model in ((step, ours), (step_as_published, theirs))
            ]
            torch.testing.assert_close(*losses)
        works = {
            OURS: partial(step, ours, ours.configure_optimizers(), images),
            AUTHORS: partial(step_as_published, theirs, theirs.configure_optimizers(), images, noisy),
        }
        yield from timed_and_weighed({"scale_weighting": weighting}, works, processor_time(device), device)
