# SPDX-License-Identifier: Apache-2.0
"""Laws of the noise: range, smoothness, octaves, determinism, one field an image."""

import pytest
import torch
from torch import Tensor

from anomalib_fsad.models.scrd4ad.simplex import PERIOD, fractal_noise, simplex_noise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int = 20000, images: int = 2, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    x, y, z = torch.rand(3, images, count, generator=seeded(), dtype=dtype) * PERIOD
    return [x, y, z], torch.rand(images, PERIOD, generator=seeded(1)).argsort(1)


def correlation(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


def test_range_mean_and_deviation() -> None:
    (x, y, z), permutation = points()
    noise = simplex_noise(x, y, z, permutation)
    assert 0.6 < noise.abs().max() <= 0.8 + 1e-4
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(0.314, abs=0.01)


def test_smooth_everywhere() -> None:
    """No jump across the faces of the tetrahedra: the gradient is bounded, so a small step changes little."""
    (x, y, z), permutation = points(100_000, 1, torch.float64)
    step = 1e-5
    change = simplex_noise(x + step, y - step, z + step, permutation) - simplex_noise(x, y, z, permutation)
    assert change.abs().max() / step < 10


def test_agrees_with_its_own_derivative() -> None:
    """Continuous, and with a continuous first derivative: central and one-sided differences agree."""
    (x, y, z), permutation = points(50_000, 1, torch.float64)
    x.requires_grad_()
    noise = simplex_noise(x, y, z, permutation)
    (slope,) = torch.autograd.grad(noise.sum(), x)
    h = 1e-6
    numeric = (simplex_noise(x + h, y, z, permutation) - simplex_noise(x - h, y, z, permutation)) / (2 * h)
    assert (numeric - slope).abs().max() < 1e-4


def test_zero_at_the_lattice_and_periodic() -> None:
    i, j, k = torch.randint(0, PERIOD, (3, 1, 100), generator=seeded()).double()
    skew = (i + j + k) / 6
    _, permutation = points(1, 1)
    assert simplex_noise(i - skew, j - skew, k - skew, permutation).abs().max() < 1e-9
    (x, y, z), _ = points(100, 1, torch.float64)
    # A shift by one period of each skewed axis is one of PERIOD / 2 along each plain one.
    shifted = simplex_noise(x + PERIOD / 2, y + PERIOD / 2, z + PERIOD / 2, permutation)
    assert torch.allclose(shifted, simplex_noise(x, y, z, permutation), atol=1e-9)


def test_the_same_seed_gives_the_same_field_and_another_seed_another() -> None:
    a, b, c = (fractal_noise(2, (24, 20), generator=seeded(s)) for s in (7, 7, 8))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)


def test_each_image_has_a_field_of_its_own_wherever_it_stands_in_the_batch() -> None:
    noise = fractal_noise(8, (48, 48), generator=seeded())
    pairs = [correlation(noise[i], noise[j]) for i in range(8) for j in range(i)]
    assert max(map(abs, pairs)) < 0.8
    assert abs(sum(pairs) / len(pairs)) < 0.15


def test_octaves_halve_the_feature_and_fade_by_the_persistence() -> None:
    one = fractal_noise(24, (64, 64), octaves=1, generator=seeded())
    assert one.std() == pytest.approx(0.314, rel=0.1)
    # Independent octaves: variances add up.
    six = fractal_noise(24, (64, 64), generator=seeded())
    expected = 0.314 * sum(0.6 ** (2 * octave) for octave in range(6)) ** 0.5
    assert six.std() == pytest.approx(expected, rel=0.1)
    assert six.abs().max() <= 0.8 * sum(0.6**octave for octave in range(6))


@pytest.mark.parametrize("feature", [8.0, 16.0, 32.0])
def test_correlation_ends_at_one_feature_size(feature: float) -> None:
    noise = fractal_noise(24, (64, 64), octaves=1, feature_size=feature, generator=seeded())[:, 0]

    def along(distance: int) -> float:
        return correlation(noise[..., :-distance], noise[..., distance:])

    assert along(int(feature / 4)) == pytest.approx(0.85, abs=0.05)
    assert along(int(feature / 2)) == pytest.approx(0.53, abs=0.08)
    assert abs(along(int(feature))) < 0.15


def test_colours_are_neighbouring_slices() -> None:
    red, green, blue = fractal_noise(8, (64, 64), generator=seeded()).unbind(1)
    assert 0.9 < correlation(red, blue) < correlation(red, green) < 1
