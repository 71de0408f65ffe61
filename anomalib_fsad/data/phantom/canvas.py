# SPDX-License-Identifier: Apache-2.0
"""What the phantom organs are drawn with: warped coordinates, soft shapes, smooth noise, strokes.

Coordinates run from -1 to 1, ``u`` to the right and ``v`` downwards; signed distances are negative inside.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
"""One value per pixel: n x n."""

Rng = np.random.Generator


class PatientRng(np.random.Generator):
    """Chance with one knob more.

    Args:
        seed: as of ``numpy.random.default_rng``.
        spread: how far the patients' poses and shapes lie apart; 1 is as usual, 0 makes them all alike.
    """

    def __init__(self, seed: np.random.SeedSequence, spread: float = 1.0) -> None:
        super().__init__(np.random.PCG64(seed))
        self.spread = spread


class Canvas(NamedTuple):
    """The anatomical coordinates of each pixel, in one patient's pose and shape.

    Attributes:
        n: pixels along a side.
        u: n x n.
        v: n x n.
    """

    n: int
    u: Field
    v: Field


@lru_cache(maxsize=8)
def pixel_grid(n: int) -> tuple[Field, Field]:
    """Where each pixel lies on the picture itself: x and y, n x n each."""
    axis = (np.arange(n, dtype=np.float32) + 0.5) * np.float32(2 / n) - 1
    x, y = np.meshgrid(axis, axis)
    return x, y


def pose(
    rng: Rng, n: int, *, turn: float = 0.09, zoom: float = 0.05, shift: float = 0.04, warp: float = 0.03
) -> Canvas:
    """A canvas turned, scaled, moved and bent at random.

    Args:
        rng: source of chance.
        n: pixels along a side.
        turn: standard deviation of the rotation in radians.
        zoom: of the logarithm of the scale.
        shift: of the translation.
        warp: of the smooth deformation.
    """
    spread = getattr(rng, "spread", 1.0)
    turn, zoom, shift, warp = (spread * amount for amount in (turn, zoom, shift, warp))
    x, y = pixel_grid(n)
    angle = rng.normal(0, turn)
    scale, stretch = np.exp(rng.normal(0, zoom)), np.exp(rng.normal(0, zoom / 2))
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = rng.normal(0, shift, 2)
    u = ((x - dx) * cos + (y - dy) * sin) * scale * stretch + warp * smooth_noise(rng, n, 4)
    v = (-(x - dx) * sin + (y - dy) * cos) * scale / stretch + warp * smooth_noise(rng, n, 4)
    return Canvas(n, u.astype(np.float32), v.astype(np.float32))


def inside(distance: Field, edge: float) -> Field:
    """1 inside, 0 outside, with a ramp ``edge`` wide."""
    return np.clip(0.5 - distance / edge, 0, 1)


def ellipse(u: Field, v: Field, cu: float, cv: float, ru: float, rv: float, angle: float = 0.0) -> Field:
    """About the signed distance to an ellipse."""
    cos, sin = np.cos(angle), np.sin(angle)
    a = ((u - cu) * cos + (v - cv) * sin) / ru
    b = (-(u - cu) * sin + (v - cv) * cos) / rv
    return (np.sqrt(a * a + b * b) - 1) * min(ru, rv)


def mix(base: Field, over: Field | float, alpha: Field) -> Field:
    """``over`` laid on ``base`` with opacity ``alpha``."""
    return base + (over - base) * alpha


@lru_cache(maxsize=64)
def _spline_matrix(n: int, cells: int) -> Field:
    """Uniform cubic B-spline weights: n x (cells + 3)."""
    place = (np.arange(n) + 0.5) / n * cells
    cell = np.minimum(place.astype(int), cells - 1)
    t = place - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    matrix = np.zeros((n, cells + 3), dtype=np.float32)
    for k in range(4):
        matrix[np.arange(n), cell + k] = weights[:, k]
    return matrix


def smooth_noise(rng: Rng, n: int, cells: int) -> Field:
    """Noise of about unit deviation that varies over ``n / cells`` pixels."""
    matrix = _spline_matrix(n, cells)
    grid = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    return matrix @ grid @ matrix.T * 2.1  # the spline smooths a deviation of 1 down to about 1 / 2.1


def fractal_noise(rng: Rng, n: int, cells: int, octaves: int = 3) -> Field:
    """Noise of about unit deviation with ever finer detail."""
    layers = [smooth_noise(rng, n, min(cells * 2**i, n // 2)) * 0.6**i for i in range(octaves)]
    return sum(layers[1:], layers[0]) / math.sqrt(sum(0.36**i for i in range(octaves)))


def box_blur(image: Field, radius: int) -> Field:
    """Mean over a square of side ``2 radius + 1``, edges repeated."""
    if radius < 1:
        return image
    side = 2 * radius + 1
    for axis in (0, 1):
        pad = [(0, 0)] * image.ndim
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis, dtype=np.float64)
        head, tail = [slice(None)] * image.ndim, [slice(None)] * image.ndim
        head[axis], tail[axis] = slice(side, None), slice(None, -side)
        image = ((sums[tuple(head)] - sums[tuple(tail)]) / side).astype(np.float32)
    return image


def stroke(n: int, points: NDArray[np.floating], radii: NDArray[np.floating], edge: float = 1.0) -> Field:
    """Opacity of discs stamped at ``points``: how vessels, nuclei and cracks are drawn.

    Args:
        n: pixels along a side.
        points: P x 2, (column, row) in pixels.
        radii: P, in pixels.
        edge: width of the soft rim in pixels.
    """
    alpha = np.zeros((n, n), dtype=np.float32)
    if len(points) == 0:
        return alpha
    reach = int(np.ceil(radii.max() + edge))
    offsets = np.arange(-reach, reach + 1)
    corner = np.rint(points).astype(int)
    columns = corner[:, :1] + offsets  # P x S
    rows = corner[:, 1:] + offsets
    dx, dy = columns - points[:, :1], rows - points[:, 1:]
    distance = np.sqrt(dx[:, None, :] ** 2 + dy[:, :, None] ** 2) - radii[:, None, None]  # P x S x S
    opacity = np.clip(0.5 - distance / edge, 0, 1).astype(np.float32)
    valid = ((columns >= 0) & (columns < n))[:, None, :] & ((rows >= 0) & (rows < n))[:, :, None] & (opacity > 0)
    place = (rows[:, :, None] * n + columns[:, None, :])[valid]
    np.maximum.at(alpha.reshape(-1), place, opacity[valid])
    return alpha
