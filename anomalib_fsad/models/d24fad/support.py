# SPDX-License-Identifier: Apache-2.0
"""The support set: the K normal images that a query is compared with, and what the student makes of them."""

from typing import NamedTuple, cast

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn


class SupportMaps(NamedTuple):
    """K images as the student sees them, K x C x h x w a scale (or B x K x ..., for each query its own)."""

    keys: list[Tensor]
    values: list[Tensor]


class SupportSet(DynamicBufferMixin, nn.Module):
    """The support as buffers, so that checkpoints and exported files carry them; empty until one is given.

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
    def maps(self) -> SupportMaps:
        """What the images are compared by."""
        keys, values = (
            [cast("Tensor", getattr(self, f"{kind}_{scale}")) for scale in range(self.scales)]
            for kind in ("keys", "values")
        )
        return SupportMaps(keys, values)

    def hold(self, maps: SupportMaps) -> None:
        """Keep what ``images`` were described by."""
        for scale, (key, value) in enumerate(zip(maps.keys, maps.values, strict=True)):
            setattr(self, f"keys_{scale}", key.detach())
            setattr(self, f"values_{scale}", value.detach())
