# SPDX-License-Identifier: Apache-2.0
"""How two stacks of feature maps become one anomaly map: pure functions."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def flat_cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos(vec a, vec b)`` of each image.

    Args:
        a: B x C x H x W.
        b: B x C x H x W.

    Returns:
        One distance per image: B.
    """
    return 1 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)


def pixel_cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos`` over the channels at each place: B x C x H x W -> B x 1 x H x W."""
    return 1 - F.cosine_similarity(a, b, dim=1).unsqueeze(1)


def summed_map(distances: Sequence[Tensor], size: Sequence[int], weights: Tensor | None = None) -> Tensor:
    """Bring the scales' distance maps to one size and add them up.

    Args:
        distances: S maps, B x 1 x h_s x w_s.
        size: height and width of the result.
        weights: what each scale counts in each image, B x S; ``None`` counts each once.

    Returns:
        B x 1 x H x W.
    """
    total = None
    for scale, distance in enumerate(distances):
        up = F.interpolate(distance, size=tuple(size), mode="bilinear", align_corners=True)
        if weights is not None:
            up = up * weights[:, scale, None, None, None]
        total = up if total is None else total + up
    if total is None:
        msg = "summed_map needs at least one distance map."
        raise ValueError(msg)
    return total


def gaussian_blur(maps: Tensor, sigma: float = 4.0) -> Tensor:
    """Blur each image by itself, as ``scipy.ndimage.gaussian_filter(image, sigma)`` does.

    The borders mirror the edge pixel too (scipy's ``reflect``), which ``torch.nn.functional.pad`` has no mode for.

    Args:
        maps: B x 1 x H x W, with H and W no smaller than ``4 sigma``.
        sigma: standard deviation in pixels; the kernel ends at four of them.
    """
    radius = math.floor(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    maps = torch.cat([maps[..., :radius].flip(-1), maps, maps[..., -radius:].flip(-1)], dim=-1)
    maps = F.conv2d(maps, kernel.view(1, 1, 1, -1))
    maps = torch.cat([maps[..., :radius, :].flip(-2), maps, maps[..., -radius:, :].flip(-2)], dim=-2)
    return F.conv2d(maps, kernel.view(1, 1, -1, 1))
