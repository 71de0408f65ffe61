# SPDX-License-Identifier: Apache-2.0
"""What is compared: a model by its name, or as a recipe file describes it."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from anomalib_fsad.compare.building import arguments_of, find_model
from anomalib_fsad.registry import MODELS

OF_THE_COMPARISON = ("k_shot", "seed")
"""Of a file's arguments, those that are the same for all."""


class Entrant(NamedTuple):
    """A model that takes part.

    Attributes:
        name: in the tables; ``D24FAD``, or ``D24FAD (d24fad_nearest)`` of a file.
        class_path: the class.
        init_args: what the file gives.
        max_steps: optimizer steps, where the file's trainer counts these.
    """

    name: str
    class_path: str
    init_args: dict[str, Any]
    max_steps: int | None = None


def entrant(given: str) -> Entrant:
    """A model that anomalib knows, or a yaml file of ``configs/model``'s form.

    Raises:
        ValueError: for a name that anomalib does not know, or a file without a model.
        FileNotFoundError: for a file that is not there.

    Example:
        >>> entrant("Padim").name
        'Padim'
    """
    if Path(given).suffix not in {".yaml", ".yml"}:
        find_model(given)
        return Entrant(given, given, {})
    content = yaml.safe_load(Path(given).read_text()) or {}
    model = content.get("model", {})
    if "class_path" not in model:
        msg = f"{given} has no model.class_path: give a file such as configs/model/d24fad.yaml, or a model's name."
        raise ValueError(msg)
    find_model(model["class_path"])
    arguments = {name: value for name, value in model.get("init_args", {}).items() if name not in OF_THE_COMPARISON}
    unknown = sorted(set(arguments) - set(arguments_of(model["class_path"])))
    if unknown:
        msg = f"{given}: {model['class_path']} takes no {unknown[0]!r}."
        raise ValueError(msg)
    name = f"{model['class_path'].rsplit('.', maxsplit=1)[-1]} ({Path(given).stem})"
    return Entrant(name, model["class_path"], arguments, content.get("trainer", {}).get("max_steps"))


def is_ours(name: str) -> bool:
    """Whether an entrant's model is one of this package.

    Example:
        >>> is_ours("D24FAD (d24fad_nearest)"), is_ours("Padim")
        (True, False)
    """
    return name.partition(" (")[0] in MODELS
