# SPDX-License-Identifier: Apache-2.0
"""The students: reverse distillation's decoder with two blocks a level, and, for one of them, priors on the way."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from anomalib_fsad.models.components import student_of


class Student(nn.Module):
    """D3, D2, D1: each doubles the size; for a ResNet each halves the channels.

    Args:
        backbone: the first teacher's name, with or without a weight tag.
        channels: of its four levels.
    """

    def __init__(self, backbone: str, channels: Sequence[int]) -> None:
        super().__init__()
        *levels, deepest = channels
        decoder: Any = student_of(backbone, deepest, levels, blocks=2)
        self.layer1: nn.Module
        self.layer2: nn.Module
        self.layer3: nn.Module
        self.layer1, self.layer2, self.layer3 = decoder.layer1, decoder.layer2, decoder.layer3

    def deepest(self, m: Tensor) -> Tensor:
        """D3(m), where the two students still see the same."""
        return self.layer1(m)

    def rest(self, third: Tensor, priors: Sequence[Tensor] = ()) -> list[Tensor]:
        """Levels 1..3 from the third: s2 = D2(s3 + p3), s1 = D1(s2 + p2), without priors D2(s3) and D1(s2)."""
        second = self.layer2(third + priors[0] if priors else third)
        return [self.layer3(second + priors[1] if priors else second), second, third]

    def forward(self, m: Tensor, priors: Sequence[Tensor] = ()) -> list[Tensor]:
        """Levels 1..3 from the deepest level of the manifold."""
        return self.rest(self.deepest(m), priors)
