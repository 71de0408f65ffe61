# SPDX-License-Identifier: Apache-2.0
"""The contrastive distillation loss of SCRD4AD."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anomalib_fsad.models.components import flat_cosine_distance


def scale_distances(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """``1 - cos(vec u_k, vec s_k)`` of each image and scale: B x S."""
    return torch.stack([flat_cosine_distance(u, s) for u, s in zip(teacher, student, strict=True)], dim=1)


def relative_entropy(weights: Tensor) -> Tensor:
    """The mean entropy of weights that sum to one (B x S), as a share of the largest possible.

    Example:
        >>> import torch
        >>> relative_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor(0.5000)
    """
    return torch.special.entr(weights).sum(1).mean() / math.log(weights.shape[1])


class ContrastiveDistillationLoss(nn.Module):
    """``pull / push``: near the teacher's view of the clean image, far from its view of the spoiled one.

    ``pull = mean_b sum_k w_bk (1 - cos(vec u_bk, vec s_bk))``, and ``push`` the same with the spoiled image's ``v``.

    A weighted ratio is least when all weight lies on the scale with the least ratio, so the head collapses onto it and
    the other scales are never learnt. The penalty, which the paper does not have, keeps it from that. It is the
    divergence of w from even weights, since its gradient, unlike the entropy's, does not vanish at a collapsed w.

    Args:
        collapse_penalty: multiplies ``KL(1/S || w)``, which is added to the loss.

    Example:
        >>> import torch
        >>> s = [torch.eye(4).view(1, 1, 4, 4)]
        >>> ContrastiveDistillationLoss()(clean=s, noisy=[-s[0]], student=s)["loss"]
        tensor(0.)
    """

    def __init__(self, collapse_penalty: float = 0.0) -> None:
        super().__init__()
        self.collapse_penalty = collapse_penalty

    def forward(
        self,
        clean: Sequence[Tensor],
        noisy: Sequence[Tensor] | None,
        student: Sequence[Tensor],
        log_weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss, its parts, and how evenly the scales are weighed: 1 all alike, 0 collapsed onto one of them.

        Args:
            clean: u, the teacher's features of the clean images, a B x C_k x H_k x W_k tensor a scale.
            noisy: v, those of the spoiled images; ``None`` leaves the push out, which is reverse distillation.
            student: s, the student's features of the clean images.
            log_weights: log w, B x S; ``None`` counts each scale once.
        """
        pull = scale_distances(clean, student)
        push = None if noisy is None else scale_distances(noisy, student)
        if log_weights is None:
            return _parts(pull, push)
        log_weights = log_weights.float()
        weights = log_weights.exp()
        parts = _parts(weights * pull, None if push is None else weights * push)
        penalty = self.collapse_penalty * divergence_from_even(log_weights)
        return {**parts, "loss": parts["loss"] + penalty, "scale_entropy": relative_entropy(weights)}


def divergence_from_even(log_weights: Tensor) -> Tensor:
    """The mean ``KL(1/S || w)`` of B x S weights: zero when they are even."""
    return -log_weights.mean() - math.log(log_weights.shape[1])


def _parts(pull: Tensor, push: Tensor | None) -> dict[str, Tensor]:
    """``pull / push`` and both, each the batch's mean of the scales' sum; or the pull alone."""
    near = pull.sum(1).mean()
    if push is None:
        return {"loss": near}
    far = push.sum(1).mean()
    return {"loss": near / far.clamp(min=1e-8), "pull": near, "push": far}
