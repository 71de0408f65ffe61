# SPDX-License-Identifier: Apache-2.0
"""Phantom images with lesions of several sizes: harder, and more to tell apart, than the phantom set's own."""

import argparse
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from anomalib_fsad.data.phantom.generate import make_phantom
from anomalib_fsad.data.phantom.lesions import LESIONS, Strength

LESION_SIZES = (0.08, 0.13, 0.20, 0.30)
"""Radius as a share of half the image."""
CONTRAST = 0.34
"""Between the phantom set's hard lesions (0.26) and its easy ones (0.42)."""


def as_rgb(pixels: np.ndarray) -> Tensor:
    """An image in [0, 1]: 3 x n x n."""
    pixels = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1).contiguous()


def healthy(organ: str, first_seed: int, count: int, size: int) -> Tensor:
    """Patients without a lesion: N x 3 x n x n."""
    return torch.stack([as_rgb(make_phantom(organ, [first_seed, i], size).image) for i in range(count)])


def ill(organ: str, radius: float, count: int, size: int) -> tuple[Tensor, Tensor]:
    """The same patients for each radius, with a lesion of each kind in turn; and their masks, N x n x n."""
    kinds, strength = list(LESIONS), Strength(CONTRAST, radius)
    drawn = [make_phantom(organ, [3, i], size, kinds[i % len(kinds)], strength) for i in range(count)]
    return torch.stack([as_rgb(phantom.image) for phantom in drawn]), torch.from_numpy(
        np.stack([p.mask for p in drawn])
    )


class Sets(NamedTuple):
    """The images of all runs, drawn once."""

    train: Tensor
    healthy: Tensor
    ill: dict[float, tuple[Tensor, Tensor]]

    @classmethod
    def draw(cls, options: argparse.Namespace) -> "Sets":
        """What ``options`` ask for."""
        organ, size, count = options.organ, options.size, options.test_images
        return cls(
            train=healthy(organ, 1, options.train_images, size),
            healthy=healthy(organ, 2, count, size),
            ill={radius: ill(organ, radius, count, size) for radius in LESION_SIZES},
        )
