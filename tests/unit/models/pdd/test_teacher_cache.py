# SPDX-License-Identifier: Apache-2.0
"""Features kept are features seen, within the limit, and not one image is taken for another."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anomalib_fsad.models.pdd.teacher_cache import Features, TeacherCache


class Teacher:
    """Counts what it is shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: Tensor) -> Features:
        self.seen += len(images)
        return [[images * 2, images.mean(dim=(2, 3), keepdim=True)], [images[:, :1]]]


def assert_equal(actual: Features, expected: Features) -> None:
    assert [[level.shape for level in levels] for levels in actual] == [
        [x.shape for x in levels] for levels in expected
    ]
    assert all(torch.equal(x, y) for a, e in zip(actual, expected, strict=True) for x, y in zip(a, e, strict=True))


@pytest.mark.parametrize("place", ["ram", "disk"])
def test_each_image_is_looked_at_once_in_whatever_order(place):
    images, teacher = torch.rand(7, 3, 4, 4), Teacher()
    cache = TeacherCache(place, limit_gb=1)
    for _epoch in range(3):
        for batch in torch.randperm(7).split(3):
            assert_equal(cache.features(images[batch], teacher), Teacher()(images[batch]))
    assert teacher.seen == len(cache) == 7


def test_another_noise_is_another_image():
    image, teacher, cache = torch.rand(1, 3, 4, 4), Teacher(), TeacherCache("ram", limit_gb=1)
    cache.features(image, teacher)
    changed = image.clone()
    changed[0, 0, 0, 0] += 1e-6
    assert_equal(cache.features(changed, teacher), Teacher()(changed))
    assert teacher.seen == 2


def test_the_limit_holds_and_what_is_beyond_it_is_looked_at_again():
    images, teacher = torch.rand(5, 3, 4, 4), Teacher()
    size = sum(level.nbytes for levels in Teacher()(images[:1]) for level in levels)
    cache = TeacherCache("ram", limit_gb=2.5 * size / 1e9)
    for _epoch in range(2):
        assert_equal(cache.features(images, teacher), Teacher()(images))
    assert len(cache) == 2
    assert cache.used <= cache.limit
    assert teacher.seen == 5 + 3


def test_the_same_image_twice_in_a_batch_is_kept_once():
    images, cache = torch.rand(1, 3, 4, 4).repeat(2, 1, 1, 1), TeacherCache("ram", limit_gb=1)
    cache.features(images, Teacher())
    assert len(cache) == 1
    assert cache.used == sum(level.nbytes for levels in Teacher()(images[:1]) for level in levels)


def test_the_folder_goes_with_the_cache():
    cache = TeacherCache("disk", limit_gb=1)
    cache.features(torch.rand(2, 3, 4, 4), Teacher())
    folder = Path(cache.folder.name)
    assert len(list(folder.iterdir())) == 2
    del cache
    assert not folder.exists()
