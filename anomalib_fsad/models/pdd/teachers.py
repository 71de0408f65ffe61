# SPDX-License-Identifier: Apache-2.0
"""The frozen teachers: a network that sets the shapes, and, if wanted, a second one of another kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anomalib_fsad.models.components import STRIDES, Teacher, layout
from anomalib_fsad.models.vmamba import VARIANTS, load_vmamba

PreTrained = bool | str | list[bool | str] | dict[str, bool | str]
"""One answer for all teachers, or one for each: ``True`` downloads, a path loads a file, ``False`` stays random."""


class Teachers(nn.Module):
    """One or two frozen networks, always in eval mode and without gradients.

    Args:
        names: first a timm network, with or without a weight tag; then perhaps a VMamba or another one of timm's.
        pre_trained: see ``PreTrained``.

    Example:
        >>> import torch
        >>> teachers = Teachers(["resnet18", "vmamba_atto"], pre_trained=False)
        >>> [[tuple(level.shape[1:]) for level in levels] for levels in teachers(torch.zeros(2, 3, 64, 64))]
        [[(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)], [(32, 8, 8), (64, 4, 4), (128, 2, 2), (128, 2, 2)]]
    """

    def __init__(self, names: Sequence[str], pre_trained: PreTrained = True) -> None:
        super().__init__()
        weights = plain_weights(names, pre_trained)
        each = [weights] * len(names) if isinstance(weights, bool) else weights
        networks = [
            load_vmamba(name, source) if name in VARIANTS else Teacher(name, STRIDES, pre_trained=source)
            for name, source in zip(names, each, strict=True)
        ]
        self.networks = nn.ModuleList(networks)
        self.channels: list[list[int]] = [list(network.channels) for network in networks]
        self.renormalize = [_renormalization(networks[0], network) for network in networks]
        self.requires_grad_(requires_grad=False)
        self.eval()

    def train(self, mode: bool = True) -> "Teachers":
        """Stay in eval mode whatever the trainer asks for."""
        del mode
        return super().train(mode=False)

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """Four levels of each teacher, shallow to deep: B x 3 x H x W -> B x C x h x w each, detached.

        Args:
            images: normalised as the first teacher wants it.
        """
        with torch.no_grad():
            return [
                network(images if change is None else images * _column(change[0], images) + _column(change[1], images))
                for network, change in zip(self.networks, self.renormalize, strict=True)
            ]


def checked_names(backbone: str, second_backbone: str | None) -> list[str]:
    """Both options as a list of known names.

    Raises:
        ValueError: naming the option, its value and what it may be.
    """
    if backbone in VARIANTS:
        msg = (
            f"backbone={backbone!r} sets the shapes of the students and must be a network of timm's, such as "
            f"wide_resnet50_2; pass {backbone} as second_backbone."
        )
        raise ValueError(msg)
    layout(backbone)
    if second_backbone is None:
        return [backbone]
    if second_backbone not in VARIANTS:
        if "vmamba" in second_backbone:
            msg = f"second_backbone={second_backbone!r}: there is no such VMamba; known are {sorted(VARIANTS)}."
            raise ValueError(msg)
        layout(second_backbone, "second_backbone")
    return [backbone, second_backbone]


def plain_weights(names: Sequence[str], pre_trained: PreTrained) -> bool | list[bool | str]:
    """The option ``pre_trained`` as plain data: one answer for all teachers, or a list with one for each.

    Example:
        >>> plain_weights(["resnet18", "vmamba_tiny"], {"vmamba_tiny": "vssmtiny.pth", "resnet18": True})
        [True, 'vssmtiny.pth']
    """
    if isinstance(pre_trained, bool):
        return pre_trained
    if isinstance(pre_trained, str | Path):
        each: list[Any] = [pre_trained]
    elif isinstance(pre_trained, Mapping):
        each = [pre_trained[name] for name in names] if set(pre_trained) == set(names) else []
    else:
        each = list(pre_trained)
    if len(each) != len(names):
        msg = (
            f"pre_trained={pre_trained!r} must be true, false, or name a weight file (or true, or false) for each of "
            f"the teachers {list(names)}: as a list in their order, or as a mapping from their names."
        )
        raise ValueError(msg)
    return [value if isinstance(value, bool) else str(value) for value in each]


def _renormalization(first: Any, other: Any) -> tuple[list[float], list[float]] | None:
    """Factor and summand of each channel that turn the first teacher's normalisation into another's, if they differ."""
    if (first.mean, first.std) == (other.mean, other.std):
        return None
    factors = [s / s2 for s, s2 in zip(first.std, other.std, strict=True)]
    summands = [(m - m2) / s2 for m, m2, s2 in zip(first.mean, other.mean, other.std, strict=True)]
    return factors, summands


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """One value a channel, 1 x 3 x 1 x 1."""
    return like.new_tensor(values).view(1, -1, 1, 1)
