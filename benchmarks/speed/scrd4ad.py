# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD's training step against a plain transcription of the authors': the spoiled images through everything, or not.

Ours makes its noise within the step; theirs is handed the spoiled images. Beside it what else a step can be made of: in
ways that change nothing (layout, one pass of the teacher, Adam), the last bits (maps kept, ``cache_teachers``), or the
precision (``bf16-mixed``, which a trainer is told by ``--trainer.precision``).
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalib_fsad import SCRD4AD
from anomalib_fsad.models.components.detector import BETAS
from anomalib_fsad.models.components.teacher_cache import remember, teacher_cache
from benchmarks.speed.subject import Case, add_sizes, timed_and_weighed
from benchmarks.timing import processor_time

OURS, AUTHORS = "ours", "authors"

NOTES = (
    "A whole step (forward, backward, Adam), in processor time on a CPU. *authors* is a plain transcription of "
    "their step: clean and spoiled images through teacher, bottleneck, decoder and head; it is handed the spoiled "
    "images. Ours passes them through the teacher alone, and makes the noise within the step. *student alone*: forward "
    "and backward of what is trained, which no way of feeding it can beat."
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


def in_one_batch(model: SCRD4AD, optimizer: torch.optim.Optimizer, images: Tensor) -> Tensor:
    """Ours, but clean and spoiled images pass the teacher at once."""
    network = model.model
    both = network.teacher.look(torch.cat([images, model.spoil(images)]))
    clean, noisy = ([maps.chunk(2)[half] for maps in both] for half in (0, 1))
    code = network.bottleneck(clean)
    weights = network.log_scale_weights(code) if network.weighted else None
    return descend(model.loss(clean, noisy, network.decoder(code), weights)["loss"], optimizer)


def student_alone(model: SCRD4AD, features: list[Tensor]) -> None:
    """The trained part, forward and backward."""
    sum(maps.mean() for maps in model.model.decoder(model.model.bottleneck(features))).backward()  # type: ignore[union-attr]
    model.zero_grad()


def mixed(run: Callable[[], Tensor], device: torch.device) -> Tensor:
    """In bfloat16 where autocast takes it."""
    with torch.autocast(device.type, dtype=torch.bfloat16):
        return run()


def variants(model: SCRD4AD, images: Tensor) -> dict[str, Callable[[], object]]:
    """Other ways to take our step, each with a copy of the model."""
    last = torch.channels_last

    def own(*, kept: bool = False, layout: torch.memory_format = torch.contiguous_format) -> Callable[[], Tensor]:
        other = copy.deepcopy(model).to(memory_format=layout)
        remember(other, teacher_cache("ram", 4.0) if kept else None)
        return partial(step, other, other.configure_optimizers(), images.to(memory_format=layout))

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    plain = torch.optim.Adam(trained, lr=model.lr, betas=BETAS)
    return {
        "channels_last": own(layout=last),
        "one pass for both": partial(in_one_batch, model, model.configure_optimizers(), images),
        "plain Adam": partial(step, model, plain, images),
        "maps kept": own(kept=True),
        "bf16": partial(mixed, own(), images.device),
        "bf16, channels_last": partial(mixed, own(layout=last), images.device),
        "bf16, channels_last, maps kept": partial(mixed, own(kept=True, layout=last), images.device),
        "student alone": partial(student_alone, copy.deepcopy(model), model.model.teacher.look(images)),
    }


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
        if weighting == "outside":
            works |= variants(ours, images)
        yield from timed_and_weighed({"scale_weighting": weighting}, works, processor_time(device), device)
