# SPDX-License-Identifier: Apache-2.0
"""The contrastive distillation loss of SCRD4AD."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anomalib_fsad.models.components import flat_cosine_distance


def scale_distances(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """``1 - cos(vec u_k, vec s_k)`` of each image and scale: B x S."""
    return torch.stack(
        [flat_cosine_distance(u.float(), s.float()) for u, s in zip(teacher, student, strict=True)], dim=1
    )


class ContrastiveDistillationLoss(nn.Module):
    """``pull / push``: near the teacher's view of the clean image, far from its view of the spoiled one.

    ``pull = mean_b sum_k w_bk (1 - cos(vec u_bk, vec s_bk))``, and ``push`` the same with the spoiled image's ``v``.

    Example:
        >>> import torch
        >>> s = [torch.eye(4).view(1, 1, 4, 4)]
        >>> ContrastiveDistillationLoss()(clean=s, noisy=[-s[0]], student=s)
        tensor(0.)
    """

    @staticmethod
    def forward(
        clean: Sequence[Tensor],
        noisy: Sequence[Tensor],
        student: Sequence[Tensor],
        weights: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            clean: u, the teacher's features of the clean images, a B x C_k x H_k x W_k tensor a scale.
            noisy: v, those of the spoiled images.
            student: s, the student's features of the clean images.
            weights: w, B x S; ``None`` counts each scale once.
        """
        pull = scale_distances(clean, student)
        push = scale_distances(noisy, student)
        if weights is not None:
            pull, push = weights * pull, weights * push
        return pull.sum(1).mean() / push.sum(1).mean().clamp(min=1e-8)
