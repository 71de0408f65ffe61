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
    content = _content(given)
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("class_path"), str):
        msg = f"{given} has no model.class_path: give a file such as configs/model/d24fad.yaml, or a model's name."
        raise ValueError(msg)
    find_model(model["class_path"])
    init_args, trainer = _mapping(given, model, "init_args"), _mapping(given, content, "trainer")
    arguments = {name: value for name, value in init_args.items() if name not in OF_THE_COMPARISON}
    unknown = sorted(set(arguments) - set(arguments_of(model["class_path"])))
    if unknown:
        msg = f"{given}: {model['class_path']} takes no {unknown[0]!r}."
        raise ValueError(msg)
    name = f"{model['class_path'].rsplit('.', maxsplit=1)[-1]} ({Path(given).stem})"
    return Entrant(name, model["class_path"], arguments, trainer.get("max_steps"))


def _content(file: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        msg = f"{file} is no readable yaml ({' '.join(str(error).split())})."
        raise ValueError(msg) from error
    return content if isinstance(content, dict) else {}


def _mapping(file: str, content: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of the file that is options by their names; none if it is left out."""
    part = content.get(name) or {}
    if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
        msg = f"{file}: {name} holds no options by their names."
        raise ValueError(msg)
    return part


def is_ours(name: str) -> bool:
    """Whether an entrant's model is one of this package.

    Example:
        >>> is_ours("D24FAD (d24fad_nearest)"), is_ours("Padim")
        (True, False)
    """
    return name.partition(" (")[0] in MODELS
