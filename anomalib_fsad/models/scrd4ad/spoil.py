# SPDX-License-Identifier: Apache-2.0
"""Synthetic anomalies: a rectangle of simplex noise in each image of a batch; pure functions."""

import torch
from torch import Tensor, nn

from anomalib_fsad.models.components.detector import transform_of
from anomalib_fsad.models.scrd4ad.simplex import fractal_noise

REFERENCE_SIZE = 256
"""The image size that sides and feature sizes are given for; they grow with the image."""


def noise_patches(
    images: Tensor,
    sides: tuple[int, int] = (10, 31),
    feature_size: float = 32.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A rectangle of simplex noise at a random place of each image, zero elsewhere.

    Args:
        images: gives number, size, device and type: B x C x H x W.
        sides: shortest and longest side in an image of 256 pixels, both included.
        feature_size: of the coarsest noise, in an image of 256 pixels.
        generator: sizes, places and fields come from it.

    Returns:
        B x 3 x H x W.
    """
    count, _, height, width = images.shape
    source = "cpu" if generator is None else generator.device
    total = torch.tensor([height, width], device=source)
    longest = _scaled(torch.tensor(sides[1], device=source), total)
    draw = torch.randint(sides[0], sides[1] + 1, (count, 2), generator=generator, device=source)
    extent = _scaled(draw, total)  # B 2: rows, columns
    start = _uniform_below(total - extent + 1, generator)  # B 2
    # Noise is made in a window as large as the largest rectangle, moved inside where it would stick out.
    window = torch.minimum(start, total - longest)
    rows, columns = longest.tolist()
    noise = fractal_noise(
        count,
        (rows, columns),
        feature_size=feature_size * min(height, width) / REFERENCE_SIZE,
        generator=generator,
        device=images.device,
    ).to(images.dtype)

    window, start, extent = (t.to(images.device, non_blocking=True) for t in (window, start, extent))
    y = window[:, :1] + torch.arange(rows, device=images.device)  # B h
    x = window[:, 1:] + torch.arange(columns, device=images.device)  # B w
    inside_rows = (y >= start[:, :1]) & (y < start[:, :1] + extent[:, :1])
    inside_columns = (x >= start[:, 1:]) & (x < start[:, 1:] + extent[:, 1:])
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]  # B h w

    patches = images.new_zeros(count, 3, height, width)
    image = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(3, device=images.device)[None, :, None, None]
    patches[image, channel, y[:, None, :, None], x[:, None, None, :]] = noise * inside[:, None]
    return patches


def grey_level(pre_processor: nn.Module | None) -> Tensor:
    """What a step of one in [0, 1] becomes in the images that the model sees, per channel: 3 x 1 x 1.

    Asked of the pre-processor itself - the difference of a white and a black image - so that any normalisation, the
    user's own too, is covered: ImageNet's gives ``1 / std``, none gives 1.
    """
    transform = transform_of(pre_processor)
    if transform is None:
        return torch.ones(3, 1, 1)
    black, white = (transform(torch.full((1, 3, 32, 32), value))[0] for value in (0.0, 1.0))
    middle = (white.shape[-2] // 2, white.shape[-1] // 2)  # a padded border would not tell
    return (white - black)[:, middle[0], middle[1]].view(3, 1, 1)


def _scaled(side: Tensor, total: Tensor) -> Tensor:
    return (side * total / REFERENCE_SIZE).round().long().clamp(min=1)


def _uniform_below(bound: Tensor, generator: torch.Generator | None) -> Tensor:
    """Integers 0..bound-1, each as likely."""
    draw = torch.rand(bound.shape, generator=generator, device=bound.device, dtype=torch.float64)
    return (draw * bound).long()
