# SPDX-License-Identifier: Apache-2.0
"""Files of weights: reading them without running code, refusing the wrong ones in words, importing the authors'."""

import inspect
import zipfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anomalib_fsad.files import replacing
from anomalib_fsad.registry import MODELS, load, model_named

MODEL_KEY = "anomalib_fsad_model"
"""The checkpoint entry that names the class, so that a wrong checkpoint is told apart from a broken one."""


# Reading -------------------------------------------------------------------------------------------------------------


def read_state_dict(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or torch file, read without running any code that it may carry.

    Args:
        path: the file.
        key: the entry that holds the state dict where the file wraps it (``state_dict`` and ``model`` are known).
    """
    if not path.is_file():
        msg = f"Weight file {str(path)!r} does not exist."
        raise FileNotFoundError(msg)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_plain(path)
    for wrapper in (key, "state_dict", "model"):
        if wrapper and isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        msg = f"{str(path)!r} holds no state dict (a mapping of names to tensors)."
        raise ValueError(msg)
    return dict(content)


def load_plain(path: Path) -> Any:
    """What a torch file holds, if that is tensors and plain data."""
    refuse_compressed(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        msg = (
            f"{str(path)!r} could not be read as plain tensors ({type(error).__name__}). If it is a whole pickled "
            "network, save network.state_dict() where its code is at hand, and pass that file."
        )
        raise ValueError(msg) from error


def refuse_compressed(path: Path) -> None:
    """Refuse an archive whose entries are compressed, as torch never writes them: a small one may fill all memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except Exception:  # no archive, or a damaged one: left to torch
        return
    if compressed:
        msg = f"{str(path)!r} is a compressed archive, which torch does not write: save it again with torch.save."
        raise ValueError(msg)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        msg = f"{str(path)!r} is damaged or no safetensors file ({error}): copy it again."
        raise ValueError(msg) from error


# Guards --------------------------------------------------------------------------------------------------------------


def check_checkpoint(checkpoint: Mapping[str, Any], model: Any, architecture: Sequence[str]) -> None:
    """Refuse another model's checkpoint, or one of other shapes, in words.

    Args:
        checkpoint: as Lightning loaded it.
        model: what it is loaded into.
        architecture: arguments that fix the shapes of the model's weights, or what they mean.
    """
    name = type(model).__name__
    saved_name = checkpoint.get(MODEL_KEY)
    if saved_name != name:
        msg = f"This checkpoint holds {saved_name or 'a model of another library'}, not {name}: check ckpt_path."
        raise ValueError(msg)
    saved = checkpoint.get("hyper_parameters", {})
    for option in architecture:
        own = model.hparams.get(option)
        if option in saved and _plain(saved[option]) != _plain(own):
            msg = (
                f"This {name} checkpoint was made with {option}={saved[option]!r}, but the model has "
                f"{option}={own!r}. Pass --model.{option} {_as_option(saved[option])}."
            )
            raise ValueError(msg)


def model_name_of(path: Path) -> str:
    """The model of this package that a checkpoint holds."""
    if not path.is_file():
        msg = f"The checkpoint {str(path)!r} does not exist."
        raise FileNotFoundError(msg)
    from anomalib.utils.serialization import anomalib_safe_globals

    with anomalib_safe_globals():
        content = load_plain(path)
    name = content.get(MODEL_KEY) if isinstance(content, Mapping) else None
    if not isinstance(name, str) or name not in MODELS:
        name = name if isinstance(name, str) else None
        msg = f"{str(path)!r} holds {name or 'nothing of this package'}: give a checkpoint of one of {sorted(MODELS)}."
        raise ValueError(msg)
    return name


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def _as_option(value: Any) -> str:
    """As the command line takes it."""
    return f'"{list(value)}"' if isinstance(value, list | tuple) else str(value)


# The authors' files --------------------------------------------------------------------------------------------------


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
    name, output = model_named(model_name), Path(output)
    check_output(output)
    if not Path(source).is_file():
        msg = f"The checkpoint {str(source)!r} does not exist."
        raise FileNotFoundError(msg)
    unknown = sorted(set(init_args) - set(inspect.signature(load(name)).parameters))
    if unknown:
        msg = f"{name} has no argument {', '.join(unknown)}."
        raise ValueError(msg)
    save_checkpoint(import_module(f"{MODELS[name]}.authors").from_authors(source, **init_args), output)
    return output


def load_authors(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict that must fit, saying of ``what`` it is not if it does not."""
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        msg = f"These are not the weights of {what}: pass its backbone. {first[:200]} ..."
        raise ValueError(msg) from error


def without_module(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the prefix of networks that were saved from several GPUs."""
    return {name.removeprefix("module."): value for name, value in state.items()}


# Writing -------------------------------------------------------------------------------------------------------------


def check_output(output: Path) -> None:
    """Refuse a name that anomalib would not take for a checkpoint."""
    if output.suffix != ".ckpt":
        msg = f"output={str(output)!r} must end in .ckpt, as anomalib's checkpoints do."
        raise ValueError(msg)


def save_checkpoint(model: Any, output: Path) -> None:
    """What a trainer would save of a model that it has not trained: weights, init arguments, components."""
    from lightning.pytorch import Trainer

    output.parent.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.strategy.connect(model)
    with replacing(output) as draft:
        trainer.save_checkpoint(draft, weights_only=True)
