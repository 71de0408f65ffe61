# SPDX-License-Identifier: Apache-2.0
"""Frozen ImageNet networks, the teachers of every distillation model here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from anomalib.models.components import TimmFeatureExtractor
from torch import Tensor, nn

WEIGHT_TAGS = {
    "resnet18": "resnet18.tv_in1k",
    "resnet34": "resnet34.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "wide_resnet50_2": "wide_resnet50_2.tv_in1k",
}
"""The weights a bare name means: torchvision's first ones, as in the papers. A name with a tag is taken as it is."""

CLASSIFIER_PREFIXES = ("fc.", "classifier.", "head.")


class WeightsUnavailableError(RuntimeError):
    """Pre-trained weights were asked for and could not be had."""


class Teacher(nn.Module):
    """A timm backbone that never trains: frozen, in eval mode, without gradients.

    Args:
        backbone: timm name, with or without a weight tag (``resnet18``, ``wide_resnet50_2.racm_in1k``).
        stages: which stages to return, shallow to deep; 1 is ``layer1`` at a quarter of the image, 4 is ``layer4``.
        pre_trained: ``True`` downloads timm's weights, a path loads a local file, ``False`` leaves random weights.

    Example:
        >>> import torch
        >>> teacher = Teacher("resnet18", stages=(1, 2, 3), pre_trained=False)
        >>> [tuple(f.shape) for f in teacher(torch.zeros(1, 3, 64, 64))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4)]
    """

    def __init__(
        self,
        backbone: str,
        stages: Sequence[int] = (1, 2, 3),
        pre_trained: bool | str | Path = True,
    ) -> None:
        super().__init__()
        name = WEIGHT_TAGS.get(backbone, backbone)
        if name.split(".")[0] not in timm.list_models():
            msg = f"backbone={backbone!r} is not a timm model; this plug-in is tried with {sorted(WEIGHT_TAGS)}."
            raise ValueError(msg)
        try:
            self.extractor = TimmFeatureExtractor(name, layers=list(stages), pre_trained=pre_trained is True)
        except Exception as error:
            if pre_trained is not True:
                raise
            raise WeightsUnavailableError(_download_message(name, error)) from error
        if pre_trained is False:
            wake_residual_branches(self.extractor)
        elif pre_trained is not True:
            load_backbone(self.extractor.feature_extractor, Path(pre_trained), backbone)
        self.channels: list[int] = list(self.extractor.out_dims)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode whatever the trainer asks for."""
        del mode
        return super().train(mode=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of ``images`` (B x 3 x H x W), shallow to deep, detached."""
        with torch.no_grad():
            return list(self.extractor(images).values())


def wake_residual_branches(network: nn.Module) -> None:
    """Undo timm's zero initialisation of each block's last norm, which is meant for training.

    A teacher that never trains would keep its residual branches silent, and be hardly more than its shortcuts.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.is_meta and not module.weight.any():
            nn.init.ones_(module.weight)


def load_backbone(network: nn.Module, path: Path, backbone: str) -> None:
    """Load a local weight file into a timm feature network; the classifier, which is not used, is dropped."""
    state = read_state_dict(path)
    wanted = network.state_dict()
    # timm's feature networks leave out the stages behind the last one asked for.
    unused = [k for k in state if k not in wanted and k.startswith((*CLASSIFIER_PREFIXES, "layer"))]
    try:
        network.load_state_dict({k: v for k, v in state.items() if k not in unused})
    except RuntimeError as error:
        msg = f"pre_trained={str(path)!r} does not hold the weights of backbone {backbone!r}: {error}"
        raise ValueError(msg) from error


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
        from safetensors.torch import load_file

        return load_file(path)
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
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        msg = (
            f"{str(path)!r} could not be read as plain tensors: {str(error).splitlines()[0]} If it is a whole pickled "
            "network, save network.state_dict() where its code is at hand, and pass that file."
        )
        raise ValueError(msg) from error


def _download_message(name: str, error: Exception) -> str:
    config = timm.get_pretrained_cfg(name)
    source = (config and (config.hf_hub_id or config.url)) or "timm"
    return (
        f"Could not download the weights of backbone {name!r} from {source} ({type(error).__name__}: {error}). "
        "Without a network: put the file on this machine and pass pre_trained=path/to/weights "
        "(.safetensors or .pth), or pass pre_trained=false where a checkpoint supplies the weights anyway."
    )
