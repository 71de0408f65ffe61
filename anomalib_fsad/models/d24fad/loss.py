# SPDX-License-Identifier: Apache-2.0
"""The two distillations of D24FAD."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anomalib_fsad.models.components import flat_cosine_distance


def distillation(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """``d(a, b)``: the sum over scales of the batch's mean of ``1 - cos(vec a, vec b)``."""
    return torch.stack([flat_cosine_distance(x, y).mean() for x, y in zip(a, b, strict=True)]).sum()


class D24FADLoss(nn.Module):
    """``L_SSD + tsd_weight * L_TSD``; gradients flow through both sides of the student's own distillation.

    Args:
        tsd_weight: what the distance to the teacher counts beside the distance to the supports.

    Example:
        >>> import torch
        >>> maps = [torch.ones(2, 4, 8, 8)]
        >>> float(D24FADLoss(0.1)(teacher=maps, student=maps, support=maps)["loss"])
        0.0
    """

    def __init__(self, tsd_weight: float = 0.1) -> None:
        super().__init__()
        self.tsd_weight = tsd_weight

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        support: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """The total as ``loss``, its parts as ``ssd`` and ``tsd``; an argument is one map B x C x H x W a scale."""
        ssd = distillation(student, support)
        tsd = distillation(teacher, student)
        return {"loss": ssd + self.tsd_weight * tsd, "ssd": ssd, "tsd": tsd}
