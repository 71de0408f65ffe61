# SPDX-License-Identifier: Apache-2.0
"""The students: reverse distillation's decoder with two blocks a level, and, for one of them, priors on the way."""

from collections.abc import Sequence

from anomalib.models.components.backbone.resnet_decoder import DecoderBasicBlock, DecoderBottleneck, ResNetDecoder
from torch import Tensor

BLOCKS: dict[str, tuple[type[DecoderBasicBlock | DecoderBottleneck], int]] = {
    "resnet18": (DecoderBasicBlock, 64),
    "resnet34": (DecoderBasicBlock, 64),
    "resnet50": (DecoderBottleneck, 64),
    "wide_resnet50_2": (DecoderBottleneck, 128),
}
"""Kind and width of the blocks that mirror a teacher."""


class Student(ResNetDecoder):
    """D3, D2, D1: each halves the channels and doubles the size.

    Args:
        backbone: the first teacher's name, with or without a weight tag.
    """

    def __init__(self, backbone: str) -> None:
        name = backbone.split(".", maxsplit=1)[0]
        if name not in BLOCKS:
            msg = f"teachers={[backbone]}: the first teacher must be one of {sorted(BLOCKS)}, with or without a tag."
            raise ValueError(msg)
        block, width = BLOCKS[name]
        super().__init__(block, [2, 2, 2], width_per_group=width)

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
