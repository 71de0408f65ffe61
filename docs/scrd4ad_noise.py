# SPDX-License-Identifier: Apache-2.0
"""``python docs/scrd4ad_noise.py`` draws its picture: SCRD4AD's noise, and phantom images before and after."""

from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image

from anomalib_fsad.data.phantom.generate import make_phantom
from anomalib_fsad.data.phantom.organs import ORGANS
from anomalib_fsad.models.scrd4ad.simplex import fractal_noise
from anomalib_fsad.models.scrd4ad.spoil import noise_patches


def draw(path: Path, size: int = 256) -> None:
    """A column an image."""
    generator = torch.Generator().manual_seed(0)
    organs = sorted(ORGANS)[:5]
    pixels = (make_phantom(organ, 1, size).image for organ in organs)
    images = torch.stack([torch.from_numpy(np.atleast_3d(p) / np.float32(255)).expand(size, size, 3) for p in pixels])
    images = images.permute(0, 3, 1, 2)
    patches = noise_patches(images, generator=generator)
    rows = {
        "noise": (fractal_noise(len(images), (size, size), generator=generator) / 3 + 0.5).clamp(0, 1),
        "image": images,
        "image + 0.2 noise": (images + 0.2 * patches).clamp(0, 1),
        "close up": torch.stack([_close_up(i, p) for i, p in zip(images + 0.2 * patches, patches, strict=True)]),
    }
    figure, axes = plt.subplots(len(rows), len(images), figsize=(8, 6.6), constrained_layout=True)
    for line, (name, batch) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axis, image in zip(line, batch, strict=True):
            axis.imshow(image.permute(1, 2, 0).numpy())
            axis.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=75)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def _close_up(image: torch.Tensor, patch: torch.Tensor, side: int = 64) -> torch.Tensor:
    """The part of an image around its patch: 3 x side x side."""
    top, left = (int(patch.abs().sum((0, other)).nonzero().float().mean() - side / 2) for other in (2, 1))
    top, left = (max(0, min(start, image.shape[-1] - side)) for start in (top, left))
    return image[:, top : top + side, left : left + side].clamp(0, 1)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
