# SPDX-License-Identifier: Apache-2.0
"""How far a bundle's scores and maps are from its checkpoint's, on this machine; needs torch and anomalib."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from anomalib_fsad.deploy.bundle import Metadata
from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.deploy.exporting import load_model
from anomalib_fsad.deploy.images import images_at, to_rgb
from anomalib_fsad.deploy.inferencer import FewShotInferencer
from anomalib_fsad.images.support import choose_support
from anomalib_fsad.models.components.detector import Detector
from anomalib_fsad.models.d24fad.few_shot import SHOTS, FewShotDetector


class Deviation(NamedTuple):
    """The largest one of a kind.

    Attributes:
        what: is compared.
        largest: deviation; raw values are shares of the checkpoint's largest.
        image: where.
    """

    what: str
    largest: float
    image: str


class _Said(NamedTuple):
    """What is compared of an image."""

    score: ArrayLike
    map: ArrayLike
    raw_score: ArrayLike
    raw_map: ArrayLike


def verify(inferencer: FewShotInferencer, checkpoint: Path, source: Path) -> list[Deviation]:
    """Score images by a checkpoint and by its bundle; those of a few-shot model against some of these images.

    Args:
        inferencer: of the bundle.
        checkpoint: that the bundle was exported from.
        source: an image or a folder of images.
    """
    metadata = inferencer.bundle.metadata
    model = load_model(checkpoint)
    if type(model).__name__ != metadata.model:
        msg = f"{str(checkpoint)!r} holds {type(model).__name__}, and the bundle {metadata.model}: give its checkpoint."
        raise ValueError(msg)
    paths = images_at(source)
    enrolment: Enrolment | None = None
    if isinstance(model, FewShotDetector):
        support = choose_support(paths, _shots(model, metadata, len(paths)))
        # Not use_support, which would set a threshold by these images too.
        model.model.set_support(torch.cat([_prepared(model, path, inferencer.intensity) for path in support]))
        enrolment = inferencer.enroll(support, target_fpr=None)
    pairs = [
        (_by_checkpoint(model, _prepared(model, path, inferencer.intensity)), _by_bundle(inferencer, path, enrolment))
        for path in paths
    ]
    return list(_deviations([str(path) for path in paths], pairs, normalized=metadata.normalized))


def _shots(model: FewShotDetector, metadata: Metadata, images: int) -> int:
    """As many supports as the checkpoint's, but no more than fit into a bank whole.

    Which patches a bank leaves out hangs on the last digits, where many are about as far apart.
    """
    wanted = len(model.model.support) or SHOTS
    if metadata.bank is not None:
        places = max(height * width for _, height, width in metadata.map_shapes)
        wanted = min(wanted, max(1, metadata.bank.maximum // (places * metadata.bank.views)))
    return min(wanted, images)


@torch.no_grad()
def _prepared(model: Detector, path: Path, intensity: str) -> Tensor:
    image = torch.from_numpy(to_rgb(path, intensity)).permute(2, 0, 1)[None]
    return model.prepared(image)


@torch.no_grad()
def _by_checkpoint(model: Detector, image: Tensor) -> _Said:
    raw = model.model(image)
    final = raw if model.post_processor is None else model.post_processor(raw)
    return _Said(
        final.pred_score.numpy(), final.anomaly_map[0, 0].numpy(), raw.pred_score.numpy(), raw.anomaly_map[0, 0].numpy()
    )


def _by_bundle(inferencer: FewShotInferencer, path: Path, enrolment: Enrolment | None) -> _Said:
    said = inferencer.predict(path, enrolment)
    return _Said(said.score, said.anomaly_map, said.raw_score, said.raw_map)


def _deviations(names: Sequence[str], pairs: Sequence[tuple[_Said, _Said]], *, normalized: bool) -> Iterator[Deviation]:
    for place, field in enumerate(_Said._fields):
        raw = field.startswith("raw_")
        if raw and not normalized:
            continue  # the same once more
        each = [float(np.abs(np.subtract(ours[place], theirs[place])).max()) for ours, theirs in pairs]
        scale = max(float(np.abs(ours[place]).max()) for ours, _ in pairs) if raw or not normalized else 1.0
        worst = int(np.argmax(each))
        label = field.replace("_", " ") + (", as a share of the largest" if raw or not normalized else "")
        yield Deviation(label, each[worst] / max(scale, float(np.finfo(np.float32).tiny)), names[worst])
