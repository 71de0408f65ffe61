# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from scipy.ndimage import gaussian_filter

from anomalib_fsad.models.components import (
    flat_cosine_distance,
    gaussian_blur,
    pixel_cosine_distance,
    summed_map,
)


@pytest.mark.parametrize("size", [(32, 32), (40, 64)])
def test_blur_is_scipys(size):
    maps = torch.rand(2, 1, *size)
    expected = torch.stack([torch.from_numpy(gaussian_filter(m[0].numpy(), 4.0)) for m in maps])
    torch.testing.assert_close(gaussian_blur(maps, 4.0)[:, 0], expected, atol=1e-6, rtol=0)


def test_blur_keeps_images_apart():
    maps = torch.zeros(3, 1, 32, 32)
    maps[1] = 1
    torch.testing.assert_close(gaussian_blur(maps), maps)


def test_distances_of_equal_opposite_and_orthogonal_maps():
    a = torch.zeros(1, 2, 3, 3)
    a[:, 0] = 2
    b = a.flip(1)
    for distance in (flat_cosine_distance, pixel_cosine_distance):
        torch.testing.assert_close(distance(a, 5 * a), torch.zeros_like(distance(a, a)))
        torch.testing.assert_close(distance(a, -a), torch.full_like(distance(a, a), 2))
        torch.testing.assert_close(distance(a, b), torch.ones_like(distance(a, a)))


def test_summed_map_weighs_scales():
    scales = [torch.ones(2, 1, 4, 4), torch.ones(2, 1, 2, 2)]
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.5]])
    total = summed_map(scales, (8, 8), weights)
    assert total.shape == (2, 1, 8, 8)
    torch.testing.assert_close(total.mean(dim=(1, 2, 3)), torch.tensor([1.0, 0.75]))
    with pytest.raises(ValueError, match="at least one"):
        summed_map([], (8, 8))
