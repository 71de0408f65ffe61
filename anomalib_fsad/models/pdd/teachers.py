# SPDX-License-Identifier: Apache-2.0
"""The frozen teachers: a ResNet that sets the shapes, and, if wanted, a second network of another kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anomalib_fsad.models.components import Teacher
from anomalib_fsad.models.vmamba import VARIANTS, load_vmamba

PreTrained = bool | str | list[bool | str] | dict[str, bool | str]
"""One answer for all teachers, or one for each: ``True`` downloads, a path loads a file, ``False`` stays random."""

MOST_TEACHERS = 2


class Teachers(nn.Module):
    """One or two frozen networks, always in eval mode and without gradients.

    Args:
        names: first a timm ResNet, with or without a weight tag; then perhaps a VMamba or another ResNet.
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
            load_vmamba(name, source) if name in VARIANTS else Teacher(name, stages=(1, 2, 3, 4), pre_trained=source)
            for name, source in zip(names, each, strict=True)
        ]
        self.networks = nn.ModuleList(networks)
        self.channels: list[list[int]] = [list(network.channels) for network in networks]
        self.requires_grad_(requires_grad=False)
        self.eval()

    def train(self, mode: bool = True) -> "Teachers":
        """Stay in eval mode whatever the trainer asks for."""
        del mode
        return super().train(mode=False)

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """Four levels of each teacher, shallow to deep: B x 3 x H x W -> B x C x h x w each, detached."""
        with torch.no_grad():
            return [network(images) for network in self.networks]


def plain_names(teachers: str | Sequence[str]) -> list[str]:
    """The option ``teachers`` as a list of known names.

    Raises:
        ValueError: naming the option, its value and what it may be.
    """
    names = [teachers] if isinstance(teachers, str) else [str(name) for name in teachers]
    if not 1 <= len(names) <= MOST_TEACHERS or names[0] in VARIANTS:
        msg = (
            f"teachers={names} must be a ResNet, or a ResNet and a second teacher: "
            "[wide_resnet50_2.racm_in1k, vmamba_tiny] is the paper's, [resnet18] the smallest."
        )
        raise ValueError(msg)
    if "vmamba" in names[-1] and names[-1] not in VARIANTS:
        msg = f"teachers={names}: there is no VMamba {names[-1]!r}; known are {sorted(VARIANTS)}."
        raise ValueError(msg)
    return names


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
