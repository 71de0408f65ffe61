# SPDX-License-Identifier: Apache-2.0
"""The model of a cell, as anomalib's benchmark would build it, at the size and with the weights of the comparison."""

import inspect
from pathlib import Path
from typing import Any

from anomalib.models import AnomalibModule

from benchmarks.cells import Cell, find_model
from benchmarks.weights import UNTRAINED, find_weights, untrained_weights, use_weights


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
    if "backbone" not in accepted:
        return model_class(**given), "its own"
    backbone = given.get("backbone", accepted["backbone"].default)
    file = find_weights(weights, backbone) if weights is not None else untrained_weights(scratch, backbone, cell.seed)
    use_weights(backbone, file)
    if "pre_trained" in accepted:
        given["pre_trained"] = True
    return model_class(**given), UNTRAINED if weights is None else file.name
