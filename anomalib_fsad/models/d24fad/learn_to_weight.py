# SPDX-License-Identifier: Apache-2.0
"""Learn-to-weight (L2W): which of the K supports a query is compared with, and how much.

The paper's symbols: Q = vec(g(query)), V_j = vec(g(support_j)), K_j = vec(Conv1x1(g(support_j))),
a = softmax over j of <Q, K_j> / sqrt(C), s_hat = sum_j a_j V_j.

The products run over C*H*W numbers, up to 10^5: too many for half precision, and for one running sum in float32. They
are summed as products, element by element, which keeps what comes behind them exact on every runtime too.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anomalib_fsad.models.components import in_float32


class LearnToWeight(nn.Module):
    """One 1x1 projection of the support's maps for each scale.

    Args:
        channels: C of each scale.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(c, c, kernel_size=1) for c in channels)

    def keys(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Project the support's maps of each scale: ... x C x H x W -> the same shape."""
        return [
            projection(value.flatten(0, -4)).view_as(value)
            for projection, value in zip(self.projections, values, strict=True)
        ]


@in_float32
def weigh_support(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Blend the supports of one scale for each query.

    Args:
        query: B x C x H x W.
        keys: the projected supports, K x C x H x W for all queries alike or B x K x C x H x W for each its own.
        values: the supports, of the same shape.

    Returns:
        The blended support, B x C x H x W, and the weights, B x K.
    """
    q = query.flatten(1).unsqueeze(1)  # B 1 D
    k, v = keys.flatten(-3), values.flatten(-3)  # (B) K D
    weights = torch.softmax((q * k).sum(-1) / math.sqrt(query.shape[1]), dim=1)
    return (weights.unsqueeze(-1) * v).sum(1).view_as(query), weights


@in_float32
def weigh_partners(maps: Tensor, keys: Tensor, counts: Tensor) -> Tensor:
    """Blend for each image of a batch the others that are its supports.

    All products of the batch are formed and the partners masked in, instead of gathering their maps: the same
    mathematics with K times less memory, and with a backward pass that adds up in a fixed order.

    Args:
        maps: B x C x H x W.
        keys: the projected maps, of the same shape.
        counts: how often image j is a support of image i, B x B.

    Returns:
        The blended support of each image, B x C x H x W.
    """
    q, k = maps.flatten(2), keys.flatten(2)  # B C N
    # By channel, so that no sum runs over more than N numbers.
    products = torch.bmm(q.transpose(0, 1), k.permute(1, 2, 0)).sum(0)  # C B N, C N B -> B B
    logits = products / math.sqrt(maps.shape[1]) + counts.log()  # log 0: never chosen
    return (torch.softmax(logits, dim=1) @ maps.flatten(1)).view_as(maps)
