# SPDX-License-Identifier: Apache-2.0
"""What anomalib judges images by, as a report tells it."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.post_processing import PostProcessor
from lightning.pytorch import Trainer

from anomalib_fsad import __version__
from anomalib_fsad.deploy.report import Basis, Support
from anomalib_fsad.report.findings import OF_ITS_OWN
from anomalib_fsad.report.scale import has_map_threshold, is_normalised

PACKAGES = ("anomalib", "torch", "numpy", "pillow")


def basis_of(trainer: Trainer, model: Any, normal_scores: Sequence[float]) -> Basis:
    """What anomalib judged them by.

    Args:
        trainer: with the data.
        model: any of anomalib's.
        normal_scores: of the images that are normal by their ground truth.
    """
    post_processor = getattr(model, "post_processor", None)
    threshold, source, caution = _threshold(model, post_processor)
    normals = f"the {len(normal_scores)} images here that are normal by their ground truth" if normal_scores else ""
    if not normal_scores:
        normal_scores = _leave_one_out(model, post_processor)
        normals = f"the {len(normal_scores)} support images, each compared with the others" if normal_scores else ""
    software = {"anomalib-fsad": __version__, "python": platform.python_version()}
    software |= {package: version(package) for package in PACKAGES}
    return Basis(
        threshold=threshold,
        source=source,
        caution=caution,
        contour="the map's threshold"
        if has_map_threshold(post_processor)
        else f"{OF_ITS_OWN:.0%} of each map's own highest value",
        normal_scores=normal_scores,
        normals=normals,
        supports=_supports(model),
        facts={
            "Model": type(model).__name__,
            "Checkpoint": Path(trainer.ckpt_path).name if trainer.ckpt_path else "",
            "Data": data_name(trainer),
            "Software": ", ".join(f"{name} {number}" for name, number in software.items()),
        },
    )


def data_name(trainer: Trainer) -> str:
    """The datamodule's name and category."""
    datamodule = getattr(trainer, "datamodule", None)
    names = (getattr(datamodule, name, None) for name in ("name", "category"))
    return ", ".join(str(name) for name in names if name)


def _threshold(model: Any, post_processor: Any) -> tuple[float | None, str, str]:
    """Threshold, where it comes from, and what to know of it."""
    if not isinstance(post_processor, PostProcessor) or not post_processor.enable_thresholding:
        return None, "none: the model has no post-processor that thresholds", ""
    kind = "normalized_image_threshold" if is_normalised(post_processor, "image") else "image_threshold"
    value = float(getattr(post_processor, kind))
    if np.isnan(value):
        return None, "none: the model has seen no validation", ""
    if getattr(model, "threshold", None) == "support":
        return value, f"leave-one-out of the support images, {model.target_fpr:.3g} of normals above it", ""
    caution = "scores are brought to [0, 1] with it at 0.5; it is as good as those images are like these"
    return value, "the best F1 on the validation images, by anomalib's post-processor", caution


def _leave_one_out(model: Any, post_processor: Any) -> list[float]:
    """The scores of a few-shot model's support images, as the others' are shown; none of other models."""
    network: Any = getattr(model, "model", None)
    if not hasattr(network, "leave_one_out") or not len(network.support):
        return []
    verdicts = network.leave_one_out(network.support.images.shape[-2:])
    if not verdicts:
        return []
    scores = torch.cat([verdict.pred_score for verdict in verdicts])
    if is_normalised(post_processor, "image"):
        limits = post_processor.image_min, post_processor.image_max, post_processor.image_threshold
        scores = post_processor._normalize(scores, *limits)
    return scores.tolist()


def _supports(model: Any) -> list[Support]:
    if not hasattr(getattr(model, "model", None), "support"):
        return []
    from anomalib_fsad.models.d24fad.visualizer import support_pictures

    pictures = enumerate(support_pictures(model), start=1)
    return [Support(f"support {number}", np.asarray(picture.convert("RGB"))) for number, picture in pictures]
