# SPDX-License-Identifier: Apache-2.0
"""The pyramid of every distillation model here: a frozen teacher, an embedding of its levels, a student that decodes.

A level is named by its stride: 4 is a quarter of the image. Any timm network with maps at strides 4, 8, 16 and 32
teaches. For the ResNets of the papers, decoder and embedding are anomalib's, so that the authors' checkpoints fit; for
all others they mirror the teacher's list of channels.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from anomalib.models.components.backbone import get_decoder
from anomalib.models.components.backbone.resnet_decoder import DecoderBasicBlock, DecoderBottleneck, ResNetDecoder
from anomalib.models.image.reverse_distillation.components import get_bottleneck_layer
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from anomalib_fsad.models.components.teacher_cache import Remembering
from anomalib_fsad.models.components.weights import trained_weights, unavailable

STRIDES = (4, 8, 16, 32)

WEIGHT_TAGS = {
    "resnet18": "resnet18.tv_in1k",
    "resnet34": "resnet34.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "resnet101": "resnet101.tv_in1k",
    "wide_resnet50_2": "wide_resnet50_2.tv_in1k",
    "resnext50_32x4d": "resnext50_32x4d.tv_in1k",
    "swin_tiny": "swin_tiny_patch4_window7_224",
}
"""What a bare name means: torchvision's first weights for the ResNets, as in the papers. Other names are timm's own."""


class Blocks(NamedTuple):
    """How a ResNet's blocks are built."""

    kind: type[DecoderBasicBlock | DecoderBottleneck]
    groups: int = 1
    width: int = 64


RESNETS = {
    "resnet18": Blocks(DecoderBasicBlock),
    "resnet34": Blocks(DecoderBasicBlock),
    "resnet50": Blocks(DecoderBottleneck),
    "resnet101": Blocks(DecoderBottleneck),
    "resnet152": Blocks(DecoderBottleneck),
    "wide_resnet50_2": Blocks(DecoderBottleneck, width=128),
    "wide_resnet101_2": Blocks(DecoderBottleneck, width=128),
    "resnext50_32x4d": Blocks(DecoderBottleneck, groups=32, width=4),
    "resnext101_32x8d": Blocks(DecoderBottleneck, groups=32, width=8),
}
"""The networks that anomalib mirrors."""


class Layout(NamedTuple):
    """What is known of a network before its weights are there.

    Attributes:
        name: timm's, with the weight tag.
        strides: of its maps, shallow to deep.
        mean: of the channels that its weights were trained with.
        std: their deviation.
    """

    name: str
    strides: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@cache
def layout(backbone: str, option: str = "backbone") -> Layout:
    """Look at a network without filling or downloading any weights.

    Args:
        backbone: timm name, with or without a weight tag.
        option: that it was given by, for the message.

    Raises:
        ValueError: if timm does not know it, or it has no maps at strides 4, 8, 16 and 32.

    Example:
        >>> layout("tf_efficientnet_lite0").mean
        (0.5, 0.5, 0.5)
    """
    name = WEIGHT_TAGS.get(backbone, backbone)
    suggestion = "use one such as wide_resnet50_2, resnet18, tf_efficientnet_lite0, convnext_tiny or swin_tiny"
    if not timm.is_model(name):
        msg = f"{option}={backbone!r} is not a network of timm's: {suggestion}."
        raise ValueError(msg)
    try:
        with torch.device("meta"):
            network: Any = timm.create_model(name, features_only=True, pretrained=False)
        strides = tuple(int(stride) for stride in network.feature_info.reduction())
    except (RuntimeError, AttributeError, AssertionError, TypeError, ValueError) as error:
        msg = f"{option}={backbone!r} gives no maps of its stages ({error}): {suggestion}."
        raise ValueError(msg) from error
    if any(strides.count(stride) != 1 for stride in STRIDES):
        msg = (
            f"{option}={backbone!r} has maps at strides {list(strides)}; a teacher here needs one at each of "
            f"{list(STRIDES)}: {suggestion}."
        )
        raise ValueError(msg)
    config = timm.get_pretrained_cfg(name)
    imagenet = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    mean, std = imagenet if config is None else (config.mean, config.std)
    return Layout(name, strides, tuple(mean), tuple(std))


def architecture(backbone: str) -> str:
    """The name without its weight tag."""
    return backbone.split(".", maxsplit=1)[0]


class Teacher(Remembering):
    """A timm network that never trains: frozen, in eval mode, without gradients.

    Args:
        backbone: timm name, with or without a weight tag (``resnet18``, ``wide_resnet50_2.racm_in1k``).
        strides: of the maps to return, shallow to deep.
        pre_trained: ``True`` takes trained weights from an installed package or timm's hub, a path loads a local file,
            ``False`` leaves random weights.

    Attributes:
        channels: of each map.
        mean: that its images are to be normalised by.
        std: likewise.

    Example:
        >>> import torch
        >>> teacher = Teacher("resnet18", strides=(4, 8, 16), pre_trained=False)
        >>> [tuple(f.shape) for f in teacher(torch.zeros(1, 3, 64, 64))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4)]
    """

    def __init__(
        self,
        backbone: str,
        strides: Sequence[int] = (4, 8, 16),
        pre_trained: bool | str | Path = True,
    ) -> None:
        super().__init__()
        known = layout(backbone)
        self.mean, self.std = known.mean, known.std
        self.levels = tuple(str(stride) for stride in strides)
        self.kind = architecture(known.name)
        network: Any = _features_of(known, strides, pre_trained)
        self.network = network
        self.channels: list[int] = list(network.feature_info.channels())
        # Swin and its kin put the channels last.
        self.channels_last = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")
        if pre_trained is False:
            wake_residual_branches(self.network)
        self.register_load_state_dict_pre_hook(_from_first_release)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode whatever the trainer asks for."""
        del mode
        return super().train(mode=False)

    def look(self, images: Tensor) -> list[Tensor]:
        """Feature maps of ``images`` (B x 3 x H x W), B x C x h x w each, shallow to deep, detached."""
        with torch.no_grad():
            maps = list(self.network(images))
            return [m.permute(0, 3, 1, 2).contiguous() for m in maps] if self.channels_last else maps


class Embedding(nn.Module):
    """The levels at strides 4, 8 and 16 become one code at stride 32, twice as wide as the deepest of them.

    Reverse distillation's one-class embedding, for any list of channels.

    Args:
        channels: of the three levels, shallow to deep.

    Example:
        >>> import torch
        >>> levels = [torch.zeros(2, 24, 16, 16), torch.zeros(2, 40, 8, 8), torch.zeros(2, 112, 4, 4)]
        >>> Embedding([24, 40, 112])(levels).shape
        torch.Size([2, 224, 2, 2])
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        shallow, middle, deep = channels
        self.first = nn.Sequential(_down(shallow, middle), _down(middle, deep))
        self.second = _down(middle, deep)
        self.fused = nn.Sequential(_down(3 * deep, 2 * deep), _Residual(2 * deep))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """B x C_s x h_s x w_s of the three levels -> B x 2C x h/2 x w/2 of the deepest."""
        shallow, middle, deep = levels
        return self.fused(torch.cat([self.first(shallow), self.second(middle), deep], dim=1))


class Decoder(nn.Module):
    """A student for any list of channels: three stages, each twice as large as the last.

    Args:
        code: channels of what it decodes, at stride 32.
        channels: of the levels it imitates, at strides 4, 8 and 16.

    Example:
        >>> import torch
        >>> [tuple(m.shape) for m in Decoder(320, [24, 40, 112])(torch.zeros(1, 320, 2, 2))]
        [(1, 24, 16, 16), (1, 40, 8, 8), (1, 112, 4, 4)]
    """

    def __init__(self, code: int, channels: Sequence[int]) -> None:
        super().__init__()
        shallow, middle, deep = channels
        self.layer1 = _up(code, deep)
        self.layer2 = _up(deep, middle)
        self.layer3 = _up(middle, shallow)

    def forward(self, code: Tensor) -> list[Tensor]:
        """B x C x h x w at stride 32 -> the levels at strides 4, 8 and 16."""
        deep = self.layer1(code)
        middle = self.layer2(deep)
        return [self.layer3(middle), middle, deep]


def student_of(backbone: str, code: int, channels: Sequence[int], blocks: int | None = None) -> nn.Module:
    """The decoder that mirrors a teacher: anomalib's for a ResNet, ``Decoder`` for all else.

    Its stages are ``layer1``, ``layer2`` and ``layer3``, and it returns their maps shallow to deep.

    Args:
        backbone: the teacher's name.
        code: channels of what it decodes.
        channels: of the levels at strides 4, 8 and 16.
        blocks: of each stage of a ResNet's decoder; as many as the teacher's by default.
    """
    name = architecture(backbone)
    known = RESNETS.get(name)
    if known is None:
        return Decoder(code, channels)
    if blocks is None:
        return get_decoder(name)
    return ResNetDecoder(known.kind, [blocks] * 3, groups=known.groups, width_per_group=known.width)


def embedding_of(backbone: str, channels: Sequence[int]) -> nn.Module:
    """The embedding that goes with a teacher: anomalib's for a ResNet, with blocks as wide as the teacher's."""
    name = architecture(backbone)
    known = RESNETS.get(name)
    if known is None:
        return Embedding(channels)
    embedding = get_bottleneck_layer(name, groups=known.groups, width_per_group=known.width)
    # Carried along from RD4AD and never called: with DDP, an unused parameter is an error.
    del embedding.conv4, embedding.bn4
    return embedding


def wake_residual_branches(network: nn.Module) -> None:
    """Undo timm's zero initialisation of each block's last norm, which is meant for training.

    A teacher that never trains would keep its residual branches silent, and be hardly more than its shortcuts.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.is_meta and not module.weight.any():
            nn.init.ones_(module.weight)


def _features_of(known: Layout, strides: Sequence[int], pre_trained: bool | str | Path) -> nn.Module:
    options: dict[str, Any] = {
        "features_only": True,
        "exportable": True,
        "out_indices": [known.strides.index(stride) for stride in strides],
    }
    if known.name.startswith("swin"):
        options["strict_img_size"] = False  # any size that the strides divide
    if pre_trained is False:
        return timm.create_model(known.name, pretrained=False, **options)
    state = trained_weights(known.name, pre_trained)
    if state is not None:
        return timm.create_model(known.name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options)
    try:
        return timm.create_model(known.name, pretrained=True, **options)
    except Exception as error:
        raise unavailable(known.name, error) from error


def _from_first_release(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints of 0.1 name the teacher's tensors ``extractor.feature_extractor.*``."""
    del module
    old = f"{prefix}extractor.feature_extractor."
    for name in [name for name in state if name.startswith(old)]:
        state[f"{prefix}network.{name.removeprefix(old)}"] = state.pop(name)


def _down(channels_in: int, channels_out: int) -> nn.Sequential:
    """Halve the size."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


def _up(channels_in: int, channels_out: int) -> nn.Sequential:
    """Double the size, then one residual block; the last convolution is free to be negative, as many teachers are."""
    convolution = nn.ConvTranspose2d(channels_in, channels_out, kernel_size=2, stride=2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True), _Residual(channels_out))


class _Residual(nn.Module):
    """``x + f(x)``, without a ReLU behind the sum: the maps of most teachers are not rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
