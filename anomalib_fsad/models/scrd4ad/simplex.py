# SPDX-License-Identifier: Apache-2.0
"""Simplex noise for a whole batch at once, in plain torch: pure functions, any device.

Perlin's simplex noise in three dimensions. Space is cut into tetrahedra; each corner pulls along a direction drawn at
random, and its pull fades to nothing within the tetrahedra that touch it, so the noise is smooth everywhere.
"""

import torch
from torch import Tensor

PERIOD = 256
"""The noise repeats after so many lattice cells; a power of two, for a cheap remainder."""

LATTICE_STEP = 2.0
"""Features to a lattice cell, such that the noise has lost its correlation after one ``feature_size``.

That is OpenSimplex's scale, which the published feature sizes are meant in: its kernel reaches twice as far.
"""

AMPLITUDE = 61.5
"""Gives the noise OpenSimplex's standard deviation, 0.314; its range is then [-0.8, 0.8] (README, "Noise")."""

# The edges of a cube, seen from its centre.
_DIRECTIONS = (
    *((x, y, 0) for x in (1, -1) for y in (1, -1)),
    *((x, 0, z) for x in (1, -1) for z in (1, -1)),
    *((0, y, z) for y in (1, -1) for z in (1, -1)),
)


def simplex_noise(x: Tensor, y: Tensor, z: Tensor, permutation: Tensor) -> Tensor:
    """Three-dimensional simplex noise.

    Args:
        x: first coordinate of the points, in lattice units: B x N.
        y: second coordinate.
        z: third coordinate.
        permutation: one permutation of 0..255 an image, which makes its field: B x 256.

    Returns:
        B x N, of zero mean.

    Example:
        >>> import torch
        >>> x, y, z = torch.rand(3, 2, 5, generator=torch.Generator().manual_seed(0)) * 9
        >>> simplex_noise(x, y, z, torch.stack([torch.arange(256), torch.arange(256).flip(0)])).shape
        torch.Size([2, 5])
    """
    directions = torch.tensor(_DIRECTIONS, dtype=x.dtype, device=x.device)
    pull_x, pull_y, pull_z = directions[permutation % len(_DIRECTIONS)].unbind(-1)  # B 256
    # Skewing turns the tetrahedra's lattice into the integers, by 1/3 forward and 1/6 back.
    skew = (x + y + z) / 3
    i, j, k = (torch.floor(t + skew) for t in (x, y, z))
    skew = (i + j + k) / 6
    x, y, z = x - i + skew, y - j + skew, z - k + skew  # from the cell's first corner
    i, j, k = i.long(), j.long(), k.long()
    # From the first corner to the last, the walk along the tetrahedron's edges takes the longest axis first.
    xy, yz, xz = x >= y, y >= z, x >= z
    one = torch.ones_like(xy)
    walk = (
        (~one, ~one, ~one),
        (xy & xz, ~xy & yz, ~xz & ~yz),
        (xy | xz, ~xy | yz, ~xz | ~yz),
        (one, one, one),
    )
    total = torch.zeros_like(x)
    for corner, (step_x, step_y, step_z) in enumerate(walk):
        dx, dy, dz = (t + corner / 6 - step.to(t.dtype) for t, step in ((x, step_x), (y, step_y), (z, step_z)))
        hashed = permutation.gather(1, (k + step_z) & (PERIOD - 1))
        hashed = permutation.gather(1, (hashed + j + step_y) & (PERIOD - 1))
        hashed = (hashed + i + step_x) & (PERIOD - 1)
        fade = (0.5 - dx * dx - dy * dy - dz * dz).clamp(min=0).square().square()
        pull = pull_x.gather(1, hashed) * dx + pull_y.gather(1, hashed) * dy + pull_z.gather(1, hashed) * dz
        total += fade * pull
    return AMPLITUDE * total


def fractal_noise(
    count: int,
    size: tuple[int, int],
    *,
    octaves: int = 6,
    persistence: float = 0.6,
    feature_size: float = 32.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Simplex noise summed over octaves, a fresh field an image; the colours are three neighbouring slices of it.

    Args:
        count: how many fields, B.
        size: height and width in pixels.
        octaves: how many scales are summed; each has half the feature size of the one before.
        persistence: the amplitude of an octave relative to the one before.
        feature_size: pixels over which the first octave loses its correlation.
        generator: where the fields come from; drawn on its own device, so that a seed means the same field on any.
        device: where the noise is computed.

    Returns:
        B x 3 x H x W, within +-0.8 times the sum of the amplitudes (1.9 for the defaults).

    Example:
        >>> import torch
        >>> fractal_noise(2, (16, 24), generator=torch.Generator().manual_seed(1)).shape
        torch.Size([2, 3, 16, 24])
    """
    height, width = size
    source = "cpu" if generator is None else generator.device
    permutation = torch.rand(count, PERIOD, generator=generator, device=source).argsort(dim=1).to(device)
    # Each octave begins elsewhere in the field, or all of them would line up at the corner.
    origin = torch.rand(3, count, octaves, generator=generator, device=source).to(device) * PERIOD  # 3 B O
    frequency = 2 ** torch.arange(octaves, device=device) / (LATTICE_STEP * feature_size)  # O
    shape = (count, octaves, 3, height, width)

    def coordinate(start: Tensor, length: int, axis: int) -> Tensor:
        steps = frequency[:, None] * torch.arange(length, device=device)  # O length
        sizes = [count, octaves, 1, 1, 1]
        sizes[axis] = length
        return (start[:, :, None] + steps).view(sizes).expand(shape).flatten(1)  # B O3HW

    x, y, z = coordinate(origin[0], width, 4), coordinate(origin[1], height, 3), coordinate(origin[2], 3, 2)
    noise = simplex_noise(x, y, z, permutation).view(shape)
    return torch.einsum("bochw,o->bchw", noise, persistence ** torch.arange(octaves, device=device))
