# SPDX-License-Identifier: Apache-2.0
"""From anomalib's benchmark files to cells: one model, protocol, target, K, seed and way of evaluating each."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

EVALUATIONS = {"held_out": "held_out", "as_published": "same_as_test"}
"""How threshold and checkpoint are chosen, and what MedicalFewShot calls it."""

ONE_CLASS, FEW_SHOT, EPISODIC = "one_class", "few_shot", "episodic"

VALIDATION, NORMALS = "validation", "normals"
"""What the threshold is from: the validation images of each protocol, or normal images of the target for all alike."""

KEY = ("model", "protocol", "target", "k_shot", "seed", "evaluation")
"""The columns that say which cell a row is."""

PLACES = ("root", "cache", "cache_dir", "cache_gib", "num_workers")
"""Options of the data that do not change what is computed."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        model: the class, as in the file.
        protocol: ``episodic``, ``few_shot`` or ``one_class``.
        target: the category tested.
        k_shot: number of support images.
        seed: of the weights, the order of training and the choice of the support images.
        evaluation: ``held_out`` or ``as_published``.
        model_config: for ``anomalib.models.get_model``.
        data_config: for ``anomalib.data.get_datamodule``.
        training: what the pipeline has no place for: ``image_size``, ``max_epochs``, ``weights``, ``threshold``.
    """

    model: str
    protocol: str
    target: str
    k_shot: int
    seed: int
    evaluation: str
    model_config: dict[str, Any] = field(compare=False, hash=False)
    data_config: dict[str, Any] = field(compare=False, hash=False)
    training: dict[str, Any] = field(compare=False, hash=False)

    @property
    def name(self) -> str:
        """A name for files: readable, and different for different options."""
        data = {k: v for k, v in self.data_config.get("init_args", {}).items() if k not in PLACES}
        content = json.dumps([self.model_config, data, self.training, self.seed], sort_keys=True, default=str)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        words = (self.model, self.protocol, self.target, f"k{self.k_shot}", f"s{self.seed}", self.evaluation)
        return "-".join(words) + f"-{digest}"

    @property
    def key(self) -> dict[str, Any]:
        """The columns that say which cell a row is."""
        return {column: getattr(self, column) for column in KEY}


@dataclass(frozen=True)
class Overrides:
    """What the command line puts in place of a file's values; ``None`` leaves them."""

    models: Sequence[str] | None = None
    root: str | None = None
    targets: Sequence[str] | None = None
    k_shots: Sequence[int] | None = None
    seeds: Sequence[int] | None = None
    evaluations: Sequence[str] = ("held_out",)
    weights: str = "untrained"
    backbone: str | None = None
    image_size: int | None = None
    max_epochs: int | None = None
    threshold: str = VALIDATION
    options: dict[str, Any] = field(default_factory=dict)
    """``{"data.<argument>": value, "model.<argument>": value}``; the latter for the models that take it."""

    def of(self, part: str) -> dict[str, Any]:
        """The options of ``data`` or ``model``, by their names alone."""
        named = ((*option.partition(".")[::2], value) for option, value in self.options.items())
        return {name: value for where, name, value in named if where == part}


def read_cells(files: Iterable[Path], overrides: Overrides) -> list[Cell]:
    """All cells of some benchmark files, seed by seed, so that what an interrupted run leaves is comparable."""
    return cells_of([_content(file) for file in files], overrides)


def _content(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        msg = f"{str(file)!r} is no readable yaml ({' '.join(str(error).split())})."
        raise ValueError(msg) from error


def cells_of(contents: Iterable[Any], overrides: Overrides) -> list[Cell]:
    """The same of what such files hold."""
    cells: list[Cell] = []
    for content in contents:
        try:
            cells += file_cells(content, overrides)
        except (KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
            msg = (
                "A benchmark file holds `benchmark:` with `data:` and `model:`, each a class_path and init_args, as "
                f"those in configs/benchmark do; this one does not ({type(error).__name__}: {error})."
            )
            raise ValueError(msg) from error
    order = {evaluation: place for place, evaluation in enumerate(EVALUATIONS)}
    unique = {cell.name: cell for cell in cells}
    _refuse_idle(overrides.options, cells)
    return sorted(unique.values(), key=lambda c: (c.seed, order[c.evaluation], c.protocol == ONE_CLASS, c.k_shot))


def _refuse_idle(options: dict[str, Any], cells: Sequence[Cell]) -> None:
    """An option of the model must be one of some model's, whatever the others take."""
    for option in options:
        where, _, name = option.partition(".")
        if where == "model" and not any(name in cell.model_config["init_args"] for cell in cells):
            msg = f"--set {option}: none of the models {sorted({cell.model for cell in cells})} takes {name!r}."
            raise ValueError(msg)


def file_cells(content: dict[str, Any], overrides: Overrides) -> list[Cell]:
    """The cells of one file, expanded by anomalib's own grid search."""
    from anomalib.pipelines.components.utils import get_iterator_from_grid_dict

    benchmark = deepcopy(content["benchmark"])
    data, model = benchmark["data"].setdefault("init_args", {}), benchmark["model"].setdefault("init_args", {})
    model.pop("visualizer", None)  # nothing is drawn here
    seeds = _values(data.pop("support_seed", None)) or _values(benchmark.get("seed", 0))
    benchmark["seed"] = {"grid": list(overrides.seeds or seeds)}
    if overrides.models:
        benchmark["model"]["class_path"] = {"grid": list(overrides.models)}
    if overrides.targets:
        data["target"] = {"grid": list(overrides.targets)}
    if overrides.k_shots and data.get("protocol") != ONE_CLASS:
        data["k_shot"] = {"grid": list(overrides.k_shots)}
    if overrides.root is not None:
        data["root"] = overrides.root
    data["val"] = {"grid": [EVALUATIONS[evaluation] for evaluation in overrides.evaluations]}
    data |= overrides.of("data")
    return [_cell(combination, overrides) for combination in get_iterator_from_grid_dict(benchmark)]


def _cell(config: dict[str, Any], overrides: Overrides) -> Cell:
    """One combination, with the seed put wherever one is taken."""
    from anomalib_fsad.compare.building import arguments_of

    data, model = config["data"]["init_args"], config["model"].get("init_args", {})
    name = config["model"]["class_path"].split(".")[-1]
    accepted = arguments_of(config["model"]["class_path"])
    if overrides.models:  # a file's arguments are those of its own models
        model = {argument: value for argument, value in model.items() if argument in accepted}
    seed = config["seed"]
    data |= {"seed": seed, "support_seed": seed}
    wanted = {
        "seed": seed,
        "backbone": overrides.backbone,
        "image_size": overrides.image_size,
        "max_epochs": overrides.max_epochs,
    }
    wanted = {argument: value for argument, value in wanted.items() if value is not None}
    if overrides.backbone is not None:
        wanted["second_backbone"] = None  # one teacher, the same for all
    wanted |= overrides.of("model")
    model |= {argument: value for argument, value in wanted.items() if argument in accepted}
    config["model"]["init_args"] = model
    training = {name: getattr(overrides, name) for name in ("image_size", "max_epochs", "weights")}
    if overrides.threshold != VALIDATION:
        training["threshold"] = overrides.threshold
    return Cell(
        model=name,
        protocol=_of_type(str, "protocol", data.get("protocol", EPISODIC)),
        target=_of_type(str, "target", data.get("target", "")),
        k_shot=_of_type(int, "k_shot", data.get("k_shot", 4)),
        seed=_of_type(int, "seed", seed),
        evaluation=next(name for name, val in EVALUATIONS.items() if val == data["val"]),
        model_config=config["model"],
        data_config=config["data"],
        training=training,
    )


def _of_type(kind: type[T], name: str, value: Any) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        msg = f"{name}={value!r} in a benchmark file should be of type {kind.__name__}."
        raise ValueError(msg)
    return value


def _values(given: Any) -> list[Any]:
    """A value or ``{"grid": values}`` as a list."""
    if given is None:
        return []
    return list(given["grid"]) if isinstance(given, dict) else [given]
