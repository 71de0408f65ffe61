# SPDX-License-Identifier: Apache-2.0
"""Released VMamba weights: where they are, how their parameters were called over time."""

import re
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from anomalib_fsad.models.components import WeightsUnavailableError, read_state_dict
from anomalib_fsad.models.vmamba.network import VARIANTS, VMamba

RENAMED = (
    (r"^patch_embed\.proj\.", "patch_embed.0."),
    (r"^patch_embed\.norm\.", "patch_embed.2."),
    (r"\.ln_1\.", ".norm."),
    (r"\.self_attention\.", ".op."),
    (r"\.downsample\.norm\.", ".downsample.1."),
    (r"\.downsample\.reduction\.", ".downsample.2."),
)
"""Older names, and what they are called now."""

UNUSED = ("classifier.",)

TRAINING_CONFIG = (OrderedDict, "yacs.config.CfgNode")
"""What a training checkpoint may carry beside the weights: read as a plain mapping, so that no code runs."""


def current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of an older checkpoint and drop the classifier.

    Example:
        >>> import torch
        >>> list(current_names({"patch_embed.proj.bias": torch.zeros(1), "classifier.head.bias": torch.zeros(1)}))
        ['patch_embed.0.bias']
    """
    renamed = {}
    for name, value in state.items():
        for old, new in RENAMED:
            name = re.sub(old, new, name)  # noqa: PLW2901 - one name, several spellings
        if not name.startswith(UNUSED):
            renamed[name] = value
    return renamed


def load_vmamba(variant: str = "vmamba_tiny", weights: bool | str | Path = True) -> VMamba:
    """Build a VMamba with released weights.

    Args:
        variant: a key of ``network.VARIANTS``.
        weights: ``True`` downloads the released file into torch's hub cache, a path or URL names another one,
            ``False`` leaves random weights.
    """
    network = VMamba(variant)
    if weights is False:
        return network
    path = _local_file(variant, weights)
    with torch.serialization.safe_globals([TRAINING_CONFIG]):
        state = current_names(read_state_dict(path, key="model"))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        msg = f"{str(path)!r} does not hold the weights of {variant!r}: {error}"
        raise ValueError(msg) from error
    return network


def _local_file(variant: str, weights: bool | str | Path) -> Path:
    source = VARIANTS[variant].url if weights is True else str(weights)
    if source is None:
        msg = f"No weights of {variant!r} were ever released: pass pre_trained=false, or a path to your own."
        raise WeightsUnavailableError(msg)
    if not re.match(r"^[a-z]+://", source):
        return Path(source)
    path = Path(torch.hub.get_dir()) / "checkpoints" / source.rsplit("/", 1)[-1]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(source, str(path), progress=False)
        except OSError as error:
            msg = (
                f"Could not download the weights of {variant!r} from {source} ({type(error).__name__}: {error}). "
                f"Without a network: put that file at {str(path)!r}, or pass its place as pre_trained, "
                "or pass pre_trained=false where a checkpoint supplies the weights anyway."
            )
            raise WeightsUnavailableError(msg) from error
    return path
