# SPDX-License-Identifier: Apache-2.0
"""From two teachers to one manifold, and from its deepest level to the priors of the skip student."""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Manifold(NamedTuple):
    """What the students imitate, f1..f3, and where they start, m."""

    levels: list[Tensor]
    deepest: Tensor


class ChannelAdapter(nn.Module):
    """A_i: brings a level of the second teacher to the first one's channels; a bottleneck with a dilated middle."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        middle = max(channels_in, channels_out) // 4
        self.conv1 = nn.Conv2d(channels_in, middle, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, kernel_size=3, padding=2, dilation=2, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, channels_out, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.residual_proj = nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """B x C_in x h x w -> B x C_out x h x w."""
        x = F.gelu(self.bn1(self.conv1(z)))
        x = F.gelu(self.bn2(self.conv2(x)))
        return F.gelu(self.bn3(self.conv3(x)) + self.residual_proj(z))


class Fusion(nn.Module):
    """The second teacher's levels, adapted and resized, added to the first one's; InA and MMU of the paper.

    Args:
        first: channels of the first teacher's four levels.
        second: channels of the second one's; ``None`` where there is no second teacher, and nothing to add.
    """

    def __init__(self, first: Sequence[int], second: Sequence[int] | None) -> None:
        super().__init__()
        pairs = [] if second is None else list(zip(second, first, strict=True))
        self.adapters = nn.ModuleList(ChannelAdapter(channels_in, channels_out) for channels_in, channels_out in pairs)

    def forward(self, features: Sequence[Sequence[Tensor]]) -> Manifold:
        """``features[teacher][level]`` -> f_i = up(A_i(z_i)) + y_i and m = A_4(z_4) + y_4."""
        levels = list(features[0])
        for i, adapter in enumerate(self.adapters):
            adapted = adapter(features[1][i])
            if adapted.shape[-2:] != levels[i].shape[-2:]:
                adapted = F.interpolate(adapted, levels[i].shape[-2:], mode="bilinear", align_corners=True)
            levels[i] = adapted + levels[i]
        return Manifold(levels[:-1], levels[-1])


class PriorBranches(nn.Module):
    """MPA: the deepest level, squeezed once and shown to the skip student at its two middle levels.

    Args:
        channels: of the first teacher's four levels.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        _, shallow, middle, deepest = channels
        self.shared_transform = nn.Sequential(
            nn.Conv2d(deepest, middle, kernel_size=1, bias=False), nn.BatchNorm2d(middle), nn.GELU()
        )
        self.branch1 = nn.Conv2d(middle, middle, kernel_size=1, bias=False)
        self.branch2 = nn.Conv2d(middle, shallow, kernel_size=1, bias=False)

    def forward(self, manifold: Manifold) -> list[Tensor]:
        """M -> p3, p2, at the sizes of f3 and f2."""
        shared = self.shared_transform(manifold.deepest)
        sizes = (manifold.levels[2].shape[-2:], manifold.levels[1].shape[-2:])
        return [
            F.interpolate(branch(shared), size, mode="bilinear", align_corners=False)
            for branch, size in zip((self.branch1, self.branch2), sizes, strict=True)
        ]
