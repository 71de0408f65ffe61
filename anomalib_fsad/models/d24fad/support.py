# SPDX-License-Identifier: Apache-2.0
"""The support set: the K normal images that a query is compared with, and what the student makes of them."""

from collections.abc import Sequence
from typing import cast

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn


class SupportSet(DynamicBufferMixin, nn.Module):
    """References as buffers, so that checkpoints and exported files carry them; empty until one is given.

    Args:
        scales: number of feature maps an image is described by.
    """

    def __init__(self, scales: int) -> None:
        super().__init__()
        self.scales = scales
        self.images: Tensor
        self.register_buffer("images", torch.empty(0))  # K x 3 x H x W, pre-processed
        for scale in range(scales):
            self.register_buffer(f"values_{scale}", torch.empty(0))  # K x C x h x w
            self.register_buffer(f"keys_{scale}", torch.empty(0))

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def values(self) -> list[Tensor]:
        """The student's maps of the references, a tensor for each scale."""
        return [cast("Tensor", getattr(self, f"values_{scale}")) for scale in range(self.scales)]

    @property
    def keys(self) -> list[Tensor]:
        """The projected maps of the references, a tensor for each scale."""
        return [cast("Tensor", getattr(self, f"keys_{scale}")) for scale in range(self.scales)]

    def hold(self, values: Sequence[Tensor], keys: Sequence[Tensor]) -> None:
        """Keep what ``images`` were encoded to."""
        for scale, (value, key) in enumerate(zip(values, keys, strict=True)):
            setattr(self, f"values_{scale}", value.detach())
            setattr(self, f"keys_{scale}", key.detach())
