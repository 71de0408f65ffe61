# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with an organ: five kinds of lesion in two strengths, each with its exact mask.

Brightening and darkening lesions are equally likely, so that the mean grey tells nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.data.phantom.canvas import Field, Rng, box_blur, ellipse, pixel_grid, smooth_noise, stroke
from anomalib_fsad.data.phantom.organs import Organ


class Strength(NamedTuple):
    """How plain a lesion is.

    Attributes:
        contrast: change of grey.
        size: radius as a share of half the image.
    """

    contrast: float
    size: float


STRENGTHS = {"easy": Strength(contrast=0.42, size=0.21), "hard": Strength(contrast=0.26, size=0.15)}

VISIBLE = 0.25
"""Opacity from which a pixel counts as lesion."""

Lesion = tuple[NDArray[np.floating], Field]
"""The changed image (n x n x C) and the opacity of the change (n x n)."""


def blob(rng: Rng, organ: Organ, strength: Strength) -> Lesion:
    """A mass: an irregular, soft-edged patch."""
    alpha = _patch(rng, organ, strength.size)
    return organ.image + alpha[..., None] * _tint(rng, organ, strength), alpha


def ring(rng: Rng, organ: Organ, strength: Strength) -> Lesion:
    """A rim with a core of the opposite contrast, as an abscess or a cyst shows."""
    distance = _outline(rng, organ, 1.15 * strength.size)
    rim = np.clip(1.4 - np.abs(distance) / 0.045, 0, 1) * (organ.tissue > 0)
    core = np.clip(-distance / 0.04 - 0.8, 0, 1) * (organ.tissue > 0)
    tint = _tint(rng, organ, strength)
    return organ.image + (rim - 0.6 * core)[..., None] * tint, np.maximum(rim, core)


def texture(rng: Rng, organ: Organ, strength: Strength) -> Lesion:
    """A patch with another grain and the same mean grey."""
    alpha = _patch(rng, organ, 1.35 * strength.size)
    n = alpha.shape[0]
    grain = smooth_noise(rng, n, n // 4)
    grain = grain - (grain * alpha).sum() / alpha.sum()
    base = box_blur(organ.image, max(1, n // 42))
    other = base + (0.75 * strength.contrast * grain)[..., None]
    return organ.image + (other - organ.image) * alpha[..., None], alpha


def missing(rng: Rng, organ: Organ, strength: Strength) -> Lesion:
    """A place where the normal structures (vessels, folds, ribs, nuclei, layers) are gone."""
    n = organ.tissue.shape[0]
    detail = box_blur(np.abs(organ.image - organ.bare).mean(axis=2), n // 12)
    alpha = _patch(rng, organ._replace(tissue=organ.tissue * detail**2), 2.0 * strength.size)
    return organ.image + (organ.bare - organ.image) * alpha[..., None], alpha


def streak(rng: Rng, organ: Organ, strength: Strength) -> Lesion:
    """A thin bent line: a crack, a fibre, a line of blood."""
    n = organ.tissue.shape[0]
    centre = _place(rng, organ.tissue)
    length = 5.0 * strength.size * n / 2
    s = np.linspace(-0.5, 0.5, int(length * 2))
    heading = rng.uniform(0, np.pi) + rng.normal(0, 1.2) * s
    step = length / len(s)
    path = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], axis=1) * step
    path = path - path[len(path) // 2] + centre
    radii = (0.014 + 0.08 * strength.size * (1 - (2 * s) ** 2)) * n / 2
    alpha = stroke(n, path, radii, edge=1.5) * organ.tissue
    return organ.image + alpha[..., None] * _tint(rng, organ, strength) * 1.15, alpha


LESIONS: dict[str, Callable[[Rng, Organ, Strength], Lesion]] = {
    "blob": blob,
    "missing": missing,
    "ring": ring,
    "streak": streak,
    "texture": texture,
}


def _place(rng: Rng, likely: Field) -> NDArray[np.floating]:
    """A pixel (column, row), drawn in proportion to ``likely``."""
    weights = likely.astype(np.float64).ravel()
    row, column = divmod(int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum())), likely.shape[1])
    return np.array([column, row], dtype=np.float64)


def _outline(rng: Rng, organ: Organ, size: float) -> Field:
    """Signed distance to an irregular round shape somewhere in the tissue."""
    n = organ.tissue.shape[0]
    centre = (_place(rng, organ.tissue) + 0.5) * 2 / n - 1
    u, v = pixel_grid(n)
    stretch = np.exp(rng.normal(0, 0.18))
    distance = ellipse(u, v, centre[0], centre[1], size * stretch, size / stretch, rng.uniform(0, np.pi))
    return distance + 0.12 * size * smooth_noise(rng, n, 10)


def _patch(rng: Rng, organ: Organ, size: float) -> Field:
    """Opacity of an irregular patch, kept within the tissue."""
    distance = _outline(rng, organ, size)
    return np.clip(0.5 - distance / 0.06, 0, 1) * (organ.tissue > 0)


def _tint(rng: Rng, organ: Organ, strength: Strength) -> NDArray[np.floating]:
    """The change of each channel, up or down."""
    channels = organ.image.shape[2]
    colour = np.ones(1) if channels == 1 else rng.uniform(0.4, 1.3, (channels,))
    sign = 1 if rng.random() < 0.5 else -1  # noqa: PLR2004
    return (sign * strength.contrast * colour / colour.mean()).astype(np.float32)
