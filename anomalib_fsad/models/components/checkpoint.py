# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoints -> checkpoints of anomalib: one function for all three models."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

from anomalib_fsad.registry import MODELS, model_named


def convert(model_name: str, source: str | Path, output: str | Path, **init_args: Any) -> Path:
    """Write a checkpoint with the authors' weights, for ``--ckpt_path`` and ``load_from_checkpoint``.

    Nothing in ``source`` is executed: it is read as plain tensors. What it must hold is said by the docstring of the
    model's ``from_authors``.

    Args:
        model_name: a model of the registry, e.g. ``D24FAD``.
        source: file of the authors' code.
        output: the ``.ckpt`` to write.
        init_args: arguments of the model, e.g. ``backbone`` or ``image_size``.

    Returns:
        ``output``.

    Example:
        >>> from anomalib_fsad.models.components.checkpoint import convert
        >>> convert("D24FAD", "authors.pth", "d24fad.ckpt", k_shot=4)  # doctest: +SKIP
    """
    name = model_named(model_name)
    output = Path(output)
    if output.suffix != ".ckpt":
        msg = f"output={str(output)!r} must end in .ckpt, as anomalib's checkpoints do."
        raise ValueError(msg)
    if not Path(source).is_file():
        msg = f"The checkpoint {str(source)!r} does not exist."
        raise FileNotFoundError(msg)
    authors = import_module(f"{MODELS[name]}.authors")
    model_class = getattr(authors, name)
    unknown = sorted(set(init_args) - set(inspect.signature(model_class).parameters))
    if unknown:
        msg = f"{model_class.__name__} has no argument {', '.join(unknown)}."
        raise ValueError(msg)
    save_checkpoint(authors.from_authors(source, **init_args), output)
    return output


def save_checkpoint(model: Any, output: Path) -> None:
    """What a trainer would save of a model that it has not trained: weights, init arguments, components."""
    from lightning.pytorch import Trainer

    output.parent.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(output, weights_only=True)
