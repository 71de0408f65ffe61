# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_fsad.models.components import KnownImages


def maps(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 5, 8, 8, generator=generator), torch.rand(count, 7, 4, 4, generator=generator)]


@pytest.fixture
def known():
    images = KnownImages()
    images.remember([maps(6, 0), maps(5, 1)])
    return images


def test_a_known_image_is_not_strange_and_a_usual_one_is_at_about_one(known):
    assert known.strangeness(maps(6, 0)).abs().max() < 1e-5
    assert known.strangeness(maps(200, 2)).mean() == pytest.approx(1, abs=0.25)


def test_less_texture_is_strange(known):
    usual = maps(50, 2)
    flat = [0.3 * m + 0.7 * m.mean(dim=(2, 3), keepdim=True) for m in usual]
    assert known.strangeness(flat).min() > known.strangeness(usual).max()


def test_each_image_by_itself(known):
    together = known.strangeness(maps(4, 3))
    alone = torch.cat([known.strangeness([m[i : i + 1] for m in maps(4, 3)]) for i in range(4)])
    torch.testing.assert_close(together, alone)


def test_it_travels_with_the_weights(known):
    other = KnownImages()
    with pytest.raises(ValueError, match="image_features has no images"):
        other.strangeness(maps(1, 0))
    other.load_state_dict(known.state_dict())
    torch.testing.assert_close(other.strangeness(maps(3, 4)), known.strangeness(maps(3, 4)))


def test_one_image_is_too_few():
    with pytest.raises(ValueError, match="needs two"):
        KnownImages().remember([maps(1, 0)])
