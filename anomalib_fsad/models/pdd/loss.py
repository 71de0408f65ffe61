# SPDX-License-Identifier: Apache-2.0
"""PDD's objective: both students imitate the manifold; they agree deep down and differ near the surface."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalib_fsad.models.components import flat_cosine_distance

Objective = Literal["paper", "released"]


def sum_mse(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The levels' mean squared errors, added up."""
    return torch.stack([F.mse_loss(x.float(), y.float()) for x, y in zip(a, b, strict=True)]).sum()


def sum_cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The levels' cosines of the flattened maps, each the mean over the batch, added up."""
    return torch.stack([1 - flat_cosine_distance(x, y).mean() for x, y in zip(a, b, strict=True)]).sum()


def diversity(a: Sequence[Tensor], b: Sequence[Tensor], tau_low: float, tau_high: float) -> Tensor:
    """L_div: what the students' cosine exceeds ``tau_low`` by at level 1, and falls short of ``tau_high`` deeper.

    Example:
        >>> import torch
        >>> same = [torch.ones(2, 3, 4, 4)] * 3
        >>> round(diversity(same, same, tau_low=0.75, tau_high=0.30).item(), 4)
        0.25
    """
    cosines = [1 - flat_cosine_distance(x, y) for x, y in zip(a, b, strict=True)]
    terms = [F.relu(cosines[0] - tau_low), *(F.relu(tau_high - cosine) for cosine in cosines[1:])]
    return torch.stack([term.mean() for term in terms]).sum()


class PDDLoss(nn.Module):
    """The weighted sum of imitation and diversity.

    ``paper``:    kr sum MSE(f, b) + mse sum MSE(f, a) + cosine sum (1 - cos(f, a)) + div L_div
    ``released``: the same, but for ``+ cosine sum cos(f, a)``: the authors' code adds the cosine itself, and so
    pushes the skip student's direction away from the manifold's while the squared error pulls it there.

    Args:
        objective: which of the two.
        kr_weight: of the plain student's squared error.
        mse_weight: of the skip student's.
        cosine_weight: of the skip student's cosine.
        div_weight: of the diversity; 0 leaves it out.
        tau_low: how alike the students may be at level 1.
        tau_high: how alike they must be deeper.
    """

    def __init__(
        self,
        objective: Objective = "paper",
        kr_weight: float = 0.02,
        mse_weight: float = 0.02,
        cosine_weight: float = 0.05,
        div_weight: float = 0.5,
        tau_low: float = 0.75,
        tau_high: float = 0.30,
    ) -> None:
        super().__init__()
        self.objective = objective
        self.weights = {"kr": kr_weight, "mse": mse_weight, "cosine": cosine_weight, "div": div_weight}
        self.tau_low = tau_low
        self.tau_high = tau_high

    def forward(self, f: Sequence[Tensor], a: Sequence[Tensor], b: Sequence[Tensor]) -> dict[str, Tensor]:
        """The parts by name, unweighted, and under ``loss`` their weighted sum."""
        cosine = sum_cosine(f, a)
        parts = {
            "kr": sum_mse(f, b),
            "mse": sum_mse(f, a),
            "cosine": len(f) - cosine if self.objective == "paper" else cosine,
            "div": diversity(a, b, self.tau_low, self.tau_high),
        }
        loss = torch.stack([self.weights[name] * value for name, value in parts.items()]).sum()
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}
