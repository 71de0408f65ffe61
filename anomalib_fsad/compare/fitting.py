# SPDX-License-Identifier: Apache-2.0
"""What anomalib's own models must be told of a teacher other than the ResNets that their defaults are written for.

``layer1`` to ``layer4`` mean a ResNet's maps at strides 4 to 32: another network's maps of the same strides stand in.
"""

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import timm
import torch
from anomalib.models import AnomalibModule
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Compose, Normalize

PADIM_FEATURES = 100
"""Of how many channels PaDiM keeps the statistics with its default teacher, resnet18."""


class Stage(NamedTuple):
    """One of the maps that timm gives of a network."""

    name: str
    channels: int


@cache
def stages(backbone: str) -> dict[int, Stage]:
    """Stride -> the last map of that stride.

    Example:
        >>> stages("resnet18")[8]
        Stage(name='layer2', channels=128)
    """
    with torch.device("meta"):
        info: Any = timm.create_model(backbone, features_only=True, pretrained=False).feature_info
    maps = zip(info.reduction(), info.module_name(), info.channels(), strict=True)
    return {stride: Stage(name, channels) for stride, name, channels in maps}


def fitting_arguments(
    accepted: Mapping[str, inspect.Parameter], given: Mapping[str, Any], backbone: str
) -> dict[str, Any]:
    """Arguments in place of defaults that ``backbone`` cannot follow.

    Args:
        accepted: the model's init arguments.
        given: what is given already.
        backbone: of timm.
    """
    found: dict[str, Any] = {}
    known = stages(backbone)
    if any(stage.name == "layer1" for stage in known.values()):
        return found
    for argument in ("layers", "layer"):
        if argument not in accepted or argument in given:
            continue
        default = accepted[argument].default
        names = [default] if isinstance(default, str) else list(default or ())
        if names and all(re.fullmatch(r"layer[1-4]", str(name)) for name in names):
            chosen = [known[2 ** (int(name[-1]) + 1)] for name in names]
            found[argument] = chosen[0].name if isinstance(default, str) else [stage.name for stage in chosen]
            if "n_features" in accepted and given.get("n_features") is None:
                found["n_features"] = min(PADIM_FEATURES, sum(stage.channels for stage in chosen))
    return found


def fitting_pre_processor(model: type[AnomalibModule], backbone: str | None, image_size: int | None) -> PreProcessor:
    """The model's own, at a size, with the mean and deviation that the teacher was trained with.

    Args:
        model: the class.
        backbone: its teacher, if that is of timm.
        image_size: ``None`` leaves the model's.
    """
    pre_processor = model.configure_pre_processor(None if image_size is None else (image_size, image_size))
    config = timm.get_pretrained_cfg(backbone) if backbone is not None else None
    if config is not None and isinstance(pre_processor.transform, Compose):
        for step in pre_processor.transform.transforms:
            if isinstance(step, Normalize):
                step.mean, step.std = list(config.mean), list(config.std)
    return pre_processor
