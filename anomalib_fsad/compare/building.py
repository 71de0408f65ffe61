# SPDX-License-Identifier: Apache-2.0
"""The model of a cell, as anomalib's benchmark would build it, at the size and with the weights of the comparison."""

import inspect
from pathlib import Path
from typing import Any

import timm
from anomalib.models import AnomalibModule

from anomalib_fsad.compare.cells import Cell, find_model
from anomalib_fsad.compare.weights import UNTRAINED, find_weights, untrained_weights, use_weights


def build_model(cell: Cell, weights: Path | None, scratch: Path, **components: Any) -> tuple[AnomalibModule, str]:
    """Build it.

    Args:
        cell: says which and how.
        weights: folder of ImageNet weights; ``None`` leaves the teacher untrained.
        scratch: where untrained weights are kept.
        components: evaluator and the like.

    Returns:
        The model, and where its teacher's weights are from.
    """
    model_class = find_model(cell.model_config["class_path"])
    accepted = inspect.signature(model_class.__init__).parameters
    given = {**cell.model_config.get("init_args", {}), **components}
    size = cell.training["image_size"]
    if size is not None and "image_size" not in accepted:
        given["pre_processor"] = model_class.configure_pre_processor((size, size))
    named = "teachers" if "teachers" in accepted else "backbone"
    if named not in accepted:
        return model_class(**given), "its own"
    backbones = given.get(named, accepted[named].default)
    backbones = [backbones] if isinstance(backbones, str) else list(backbones)
    files = [_weight_file(name, weights, scratch, cell.seed) for name in backbones]
    if named == "teachers":
        given["pre_trained"] = [False if file is None else str(file) for file in files]
    else:
        use_weights(backbones[0], files[0])
        if "pre_trained" in accepted:
            given["pre_trained"] = True
    return model_class(**given), UNTRAINED if weights is None else ", ".join(file.name for file in files)


def _weight_file(backbone: str, weights: Path | None, scratch: Path, seed: int) -> Path | None:
    """A backbone's weights; ``None`` for an untrained one that timm does not know (VMamba)."""
    if weights is not None:
        return find_weights(weights, backbone)
    architecture = backbone.split(".", maxsplit=1)[0]
    return untrained_weights(scratch, architecture, seed) if timm.is_model(architecture) else None
