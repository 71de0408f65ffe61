# SPDX-License-Identifier: Apache-2.0
"""A batch that anomalib has scored -> what a report holds of its images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor

from anomalib_fsad.deploy.cells import shown
from anomalib_fsad.deploy.report import Finding, NearestPatch
from anomalib_fsad.images.decoding import FloatImage, read_rgb
from anomalib_fsad.report.scale import has_map_threshold, is_normalised
from anomalib_fsad.threshold import around_half

OF_ITS_OWN = 0.7
"""Of a map's highest value: where the contour is drawn if no threshold is known."""


def findings_of(batch: Any, trainer: Trainer, post_processor: Any) -> Iterator[Finding]:
    """The images of a batch that anomalib has scored, normalised and labelled."""
    count = len(batch.image)
    scores = _array(batch.pred_score, count)
    labels = _labels(batch.pred_label, count)
    truths = _labels(getattr(batch, "gt_label", None), count)
    weights = [()] * count if getattr(batch, "support_weights", None) is None else batch.support_weights.tolist()
    for place in range(count):
        path = batch.image_path[place] if getattr(batch, "image_path", None) else None
        score = float(scores[place])
        yield Finding(
            name=_name(path, trainer) if path else f"image {place + 1}",
            picture=_picture(path, batch.image[place], trainer),
            heat=_heat(_plane(batch.anomaly_map, place), post_processor),
            score=score,
            raw_score=score,
            label=labels[place],
            weights=weights[place],
            nearest=_nearest(batch, place),
            truth=truths[place],
            truth_mask=_mask(_plane(getattr(batch, "gt_mask", None), place)),
        )


def _array(values: Tensor, count: int) -> NDArray[np.float64]:
    return values.detach().float().reshape(count).cpu().numpy().astype(np.float64)


def _labels(values: Tensor | None, count: int) -> list[bool | None]:
    # Without a threshold anomalib puts the scores themselves there.
    if values is None or values.dtype.is_floating_point:
        return [None] * count
    return [bool(value) for value in values.reshape(count).tolist()]


def _plane(values: Tensor | None, place: int) -> NDArray[np.float32] | None:
    if values is None:
        return None
    plane = values[place].detach().float().cpu().numpy()
    return plane.reshape(plane.shape[-2:])


def _mask(plane: NDArray[np.float32] | None) -> NDArray[np.bool_] | None:
    return None if plane is None else plane > 0


def _heat(values: NDArray[np.float32] | None, post_processor: Any) -> NDArray[np.floating] | None:
    """A map with its threshold at 0.5."""
    if values is None:
        return None
    if not has_map_threshold(post_processor):
        return 0.5 / OF_ITS_OWN * values / max(float(values.max()), 1e-12)
    if is_normalised(post_processor):
        return values + 0.5 - float(post_processor.normalized_pixel_threshold)
    return around_half(np.clip(values, 0, None), float(post_processor.pixel_threshold))


def _picture(path: str | None, tensor: Tensor, trainer: Trainer) -> FloatImage:
    """The image itself; where it lies in no file, what the model saw, stretched."""
    if path:
        return read_rgb(path, getattr(getattr(trainer, "datamodule", None), "intensity", "auto"))
    seen = tensor.detach().float().cpu().permute(1, 2, 0).numpy()
    low, high = float(seen.min()), float(seen.max())
    return ((seen - low) / max(high - low, 1e-12)).astype(np.float32)


def _nearest(batch: Any, place: int) -> NearestPatch | None:
    box = getattr(batch, "nearest_box", None)
    if box is None:
        return None
    left, top, right, bottom = box[place].tolist()
    return NearestPatch(int(batch.nearest_support[place]), (left, top, right, bottom))


def _name(path: str, trainer: Trainer) -> str:
    """From the data's root on: where that lies is nobody's business."""
    roots = [getattr(getattr(trainer, "datamodule", None), "root", None)]
    for root in (Path(root).resolve() for root in roots if root):
        if Path(path).resolve().is_relative_to(root):
            return shown(Path(path).resolve().relative_to(root))
    return shown(Path(*Path(path).parts[-2:]))
