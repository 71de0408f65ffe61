# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoints -> checkpoints of anomalib: one function for all three models."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

READERS = {
    "D24FAD": "anomalib_fsad.models.d24fad.reference",
    "PDD": "anomalib_fsad.models.pdd.reference",
    "SCRD4AD": "anomalib_fsad.models.scrd4ad.reference",
}
"""Where each model's ``from_reference`` is; its docstring says what the authors' file must hold."""


def convert(model_name: str, source: str | Path, output: str | Path, **init_args: Any) -> Path:
    """Write a checkpoint with the authors' weights, for ``--ckpt_path`` and ``load_from_checkpoint``.

    Nothing in ``source`` is executed: it is read as plain tensors.

    Args:
        model_name: ``D24FAD``, ``SCRD4AD`` or ``PDD``.
        source: file of the authors' code.
        output: the ``.ckpt`` to write.
        init_args: arguments of the model, e.g. ``backbone`` or ``image_size``.

    Returns:
        ``output``.

    Example:
        >>> from anomalib_fsad.reference import convert
        >>> convert("D24FAD", "authors.pth", "d24fad.ckpt", k_shot=4)  # doctest: +SKIP
    """
    names = {name.lower(): name for name in READERS}
    if model_name.lower() not in names:
        msg = f"There is no model {model_name!r} to convert to: it is one of {sorted(READERS)}."
        raise ValueError(msg)
    output = Path(output)
    if output.suffix != ".ckpt":
        msg = f"output={str(output)!r} must end in .ckpt, as anomalib's checkpoints do."
        raise ValueError(msg)
    if not Path(source).is_file():
        msg = f"The checkpoint {str(source)!r} does not exist."
        raise FileNotFoundError(msg)
    reader = import_module(READERS[names[model_name.lower()]])
    model_class = getattr(reader, names[model_name.lower()])
    unknown = sorted(set(init_args) - set(inspect.signature(model_class).parameters))
    if unknown:
        msg = f"{model_class.__name__} has no argument {', '.join(unknown)}."
        raise ValueError(msg)
    save_checkpoint(reader.from_reference(source, **init_args), output)
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
