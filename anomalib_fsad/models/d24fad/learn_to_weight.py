# SPDX-License-Identifier: Apache-2.0
"""Learn-to-weight (L2W): which of the K references a query is compared with, and how much.

The paper's symbols: Q = vec(g(query)), V_j = vec(g(support_j)), K_j = vec(Conv1x1(g(support_j))),
a = softmax over j of <Q, K_j> / sqrt(C), reference = sum_j a_j V_j.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn


class LearnToWeight(nn.Module):
    """One 1x1 projection of the reference maps for each scale.

    Args:
        channels: C of each scale.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(c, c, kernel_size=1) for c in channels)

    def keys(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Project the reference maps of each scale: ... x C x H x W -> the same shape."""
        return [
            projection(value.flatten(0, -4)).view_as(value)
            for projection, value in zip(self.projections, values, strict=True)
        ]


def weigh_references(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Blend the references of one scale for each query.

    Args:
        query: B x C x H x W.
        keys: the projected references, K x C x H x W for all queries alike or B x K x C x H x W for each its own.
        values: the references, of the same shape.

    Returns:
        The blended reference, B x C x H x W, and the weights, B x K.
    """
    scale = math.sqrt(query.shape[1])
    # The products run over C*H*W numbers: too many for half precision.
    autocast = torch.is_autocast_enabled(query.device.type)
    with torch.autocast(query.device.type, enabled=False) if autocast else nullcontext():
        q = query.flatten(1).float()  # B x D
        k = keys.flatten(-3).float()  # (B x) K x D
        v = values.flatten(-3).float()
        if keys.ndim == values.ndim == 4:  # noqa: PLR2004
            weights = torch.softmax(q @ k.transpose(0, 1) / scale, dim=1)
            blended = weights @ v
        else:
            weights = torch.softmax((q.unsqueeze(1) @ k.transpose(1, 2)).squeeze(1) / scale, dim=1)
            blended = (weights.unsqueeze(1) @ v).squeeze(1)
    return blended.to(query.dtype).view_as(query), weights
