# SPDX-License-Identifier: Apache-2.0
"""A model as anomalib's benchmark would build it, at the size and with the teacher of the comparison."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from anomalib.models import AnomalibModule

from anomalib_fsad.compare.fitting import fitting_arguments, fitting_pre_processor
from anomalib_fsad.compare.weights import (
    UNTRAINED,
    find_weights,
    known_to_timm,
    offer_packages,
    untrained_weights,
    use_weights,
)
from anomalib_fsad.registry import MODELS


class Teachers(NamedTuple):
    """Where the weights of every model's frozen network are from.

    Attributes:
        pre_trained: ``False`` leaves them untrained, ``True`` has every model find its own (an installed package, else
            the hub); a weight file, or a folder with one for each backbone, serves all.
        scratch: where untrained weights are kept, so that all models of a seed share them.
    """

    pre_trained: bool | Path
    scratch: Path

    @property
    def name(self) -> str:
        """For a row of results."""
        if isinstance(self.pre_trained, Path):
            return self.pre_trained.name
        return "pre-trained" if self.pre_trained else UNTRAINED

    def file(self, backbone: str, seed: int) -> Path | None:
        """A backbone's weights; ``None`` where the model is to find them, or to draw them, by itself."""
        if self.pre_trained is True:
            offer_packages()
            return None
        if isinstance(self.pre_trained, Path):
            return self.pre_trained if self.pre_trained.is_file() else find_weights(self.pre_trained, backbone)
        return untrained_weights(self.scratch, backbone, seed) if known_to_timm(backbone) else None


def find_model(class_path: str) -> type[AnomalibModule]:
    """A model's class by its name, as anomalib's benchmark finds it."""
    import anomalib.models

    name = class_path.rsplit(".", maxsplit=1)[-1]
    if not hasattr(anomalib.models, name):
        known = ", ".join(sorted({*anomalib.models.__all__, *MODELS}))
        msg = f"{class_path} is no model that anomalib knows; known are {known}."
        raise ValueError(msg)
    return getattr(anomalib.models, name)


def arguments_of(class_path: str) -> dict[str, inspect.Parameter]:
    """The init arguments of a model."""
    return dict(inspect.signature(find_model(class_path).__init__).parameters)


def build_model(
    config: dict[str, Any], image_size: int | None, teachers: Teachers, seed: int, **components: Any
) -> tuple[AnomalibModule, str]:
    """Build it.

    Args:
        config: ``class_path`` and ``init_args``.
        image_size: for every model alike; ``None`` leaves each its own.
        teachers: their weights.
        seed: of untrained ones.
        components: evaluator and the like.

    Returns:
        The model, and where its teacher's weights are from.
    """
    model_class, accepted = find_model(config["class_path"]), arguments_of(config["class_path"])
    given = {**config.get("init_args", {}), **components}
    backbones = list(_backbones(given, accepted))
    of_timm = next((name for name in backbones if known_to_timm(name)), None)
    if "image_size" not in accepted and (image_size is not None or of_timm is not None):
        given["pre_processor"] = fitting_pre_processor(model_class, of_timm, image_size)
    if not backbones:
        return model_class(**given), "its own"
    files = [teachers.file(name, seed) for name in backbones]
    ways = [teachers.pre_trained is True if file is None else str(file) for file in files]
    if config["class_path"].rsplit(".", maxsplit=1)[-1] in MODELS:  # ours read a file
        given["pre_trained"] = ways if len(ways) > 1 else ways[0]
    else:
        for name, file in zip(backbones, files, strict=True):
            if file is not None:
                use_weights(name, file)
        if "pre_trained" in accepted:
            given["pre_trained"] = ways != [False]
        if of_timm is not None:
            given |= fitting_arguments(accepted, given, of_timm)
    found = ", ".join(file.name for file in files if file is not None)
    return model_class(**given), found if found and teachers.pre_trained else teachers.name


def _backbones(given: dict[str, Any], accepted: dict[str, inspect.Parameter]) -> Iterator[str]:
    """The names of a model's frozen networks."""
    for argument in ("backbone", "second_backbone"):
        name = given.get(argument, accepted[argument].default) if argument in accepted else None
        if name is not None:
            yield name
