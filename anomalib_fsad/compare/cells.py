# SPDX-License-Identifier: Apache-2.0
"""From what anomalib's benchmark files say to cells: one model, protocol, target, K, seed and evaluation each."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

EVALUATIONS = {"held_out": "held_out", "as_published": "same_as_test"}
"""How threshold and checkpoint are chosen, and what MedicalFewShot calls it."""

ONE_CLASS, FEW_SHOT, EPISODIC = "one_class", "few_shot", "episodic"

VALIDATION, NORMALS = "validation", "normals"
"""What the threshold is from: the validation images of each protocol, or normal images of the target for all alike."""

BEST, LAST = "best", "last"
"""Which weights are tested: those of the best validation AUROC, or those that training ends with."""

KEY = ("model", "protocol", "target", "k_shot", "seed", "evaluation")
"""The columns that say which cell a row is."""

PLACES = ("root", "cache", "cache_dir", "cache_gib", "num_workers")
"""Options of the data that do not change what is computed."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        model: its name in the tables.
        protocol: ``episodic``, ``few_shot`` or ``one_class``.
        target: the category tested.
        k_shot: number of support images.
        seed: of the choice of the support images, the weights and the order of training.
        evaluation: ``held_out`` or ``as_published``.
        model_config: for ``anomalib.models.get_model``.
        data_config: for ``anomalib.data.get_datamodule``.
        training: what the pipeline has no place for: ``image_size``, ``max_epochs``, ``weights``, and where they are
            given ``max_steps``, ``threshold``, ``checkpoint`` and ``train_k_shot``.
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
        model = re.sub(r"[^\w.]+", "_", self.model).strip("_")
        words = (model, self.protocol, self.target, f"k{self.k_shot}", f"s{self.seed}", self.evaluation)
        return "-".join(words) + f"-{digest}"

    @property
    def key(self) -> dict[str, Any]:
        """The columns that say which cell a row is."""
        return {column: getattr(self, column) for column in KEY}


@dataclass(frozen=True)
class Overrides:
    """What the command line says; ``None`` leaves what is."""

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
    checkpoint: str = BEST
    train_k_shot: int | None = None
    train_seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """``{"data.<argument>": value, "model.<argument>": value}``; the latter for the models that take it."""

    def of(self, part: str) -> dict[str, Any]:
        """The options of ``data`` or ``model``, by their names alone."""
        named = ((*option.partition(".")[::2], value) for option, value in self.options.items())
        return {name: value for where, name, value in named if where == part}


def cells_of(contents: Iterable[dict[str, Any]], overrides: Overrides) -> list[Cell]:
    """All cells of some benchmarks, seed by seed, so that what an interrupted run leaves is comparable.

    Args:
        contents: what a benchmark file of anomalib's holds, and beside it ``benchmark.model.name``, the name in the
            tables, and ``max_steps``.
        overrides: what the command line says.
    """
    cells = [cell for content in contents for cell in _expanded(content, overrides)]
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


def _expanded(content: dict[str, Any], overrides: Overrides) -> list[Cell]:
    """The cells of one benchmark, expanded by anomalib's own grid search."""
    from anomalib.pipelines.components.utils import get_iterator_from_grid_dict

    benchmark = deepcopy(content["benchmark"])
    data, model = benchmark["data"].setdefault("init_args", {}), benchmark["model"].setdefault("init_args", {})
    model.pop("visualizer", None)  # nothing is drawn here
    seeds = _values(data.pop("support_seed", None)) or _values(benchmark.get("seed", 0))
    benchmark["seed"] = {"grid": list(overrides.seeds or seeds)}
    if overrides.targets:
        data["target"] = {"grid": list(overrides.targets)}
    if overrides.k_shots and data.get("protocol") != ONE_CLASS:
        data["k_shot"] = {"grid": list(overrides.k_shots)}
    if overrides.root is not None:
        data["root"] = overrides.root
    data["val"] = {"grid": [EVALUATIONS[evaluation] for evaluation in overrides.evaluations]}
    data |= overrides.of("data")
    steps = content.get("max_steps")
    return [_cell(combination, overrides, steps) for combination in get_iterator_from_grid_dict(benchmark)]


def _cell(config: dict[str, Any], overrides: Overrides, max_steps: int | None = None) -> Cell:
    """One combination, with the seed put wherever one is taken."""
    from anomalib_fsad.compare.building import arguments_of

    data, model = config["data"]["init_args"], config["model"].get("init_args", {})
    name = config["model"].pop("name", config["model"]["class_path"].split(".")[-1])
    accepted = arguments_of(config["model"]["class_path"])
    seed = config["seed"]
    episodic = data.get("protocol", EPISODIC) == EPISODIC
    train_seed = overrides.train_seed if episodic and overrides.train_seed is not None else seed
    data |= {"seed": train_seed, "support_seed": seed}
    wanted = {
        "seed": train_seed,
        "backbone": overrides.backbone,
        "image_size": overrides.image_size,
        "max_epochs": overrides.max_epochs,
    }
    wanted = {argument: value for argument, value in wanted.items() if value is not None}
    if overrides.backbone is not None and "second_backbone" not in model:
        wanted["second_backbone"] = None  # one teacher, the same for all
    wanted |= overrides.of("model")
    model |= {argument: value for argument, value in wanted.items() if argument in accepted}
    config["model"]["init_args"] = model
    training = {name: getattr(overrides, name) for name in ("image_size", "max_epochs", "weights")}
    if max_steps is not None and overrides.max_epochs is None:
        training["max_steps"] = max_steps
    if overrides.threshold != VALIDATION:
        training["threshold"] = overrides.threshold
    if overrides.checkpoint != BEST:
        training["checkpoint"] = overrides.checkpoint
    if overrides.train_k_shot is not None and episodic:
        training["train_k_shot"] = overrides.train_k_shot
    return Cell(
        model=name,
        protocol=data.get("protocol", EPISODIC),
        target=data.get("target", ""),
        k_shot=int(data.get("k_shot", 4)),
        seed=int(seed),
        evaluation=next(name for name, val in EVALUATIONS.items() if val == data["val"]),
        model_config=config["model"],
        data_config=config["data"],
        training=training,
    )


def _values(given: Any) -> list[Any]:
    """A value or ``{"grid": values}`` as a list."""
    if given is None:
        return []
    return list(given["grid"]) if isinstance(given, dict) else [given]
