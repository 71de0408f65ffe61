# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_fsad.models.d24fad import D24FAD
from anomalib_fsad.models.d24fad.space_weights import best_weights, scores_by_weights, weight_grid


def learnt(first: list[float], second: list[float], labels: list[int], categories: str) -> list[float] | None:
    """From flat maps of two spaces."""
    maps = torch.tensor([first, second]).T[:, :, None, None].expand(-1, -1, 4, 4)
    return best_weights(scores_by_weights(maps, "max"), torch.tensor(labels), list(categories), 2)


def test_the_grid_begins_with_equal_weights_and_silences_none():
    grid = weight_grid(3)
    torch.testing.assert_close(grid[0], torch.ones(3))
    torch.testing.assert_close(grid.sum(1), torch.full((len(grid),), 3.0))
    assert grid.min() > 0
    assert len(grid.unique(dim=0)) == len(grid)


def test_the_space_that_tells_them_is_the_one_that_counts():
    first, second = learnt([0.5, 0.0, 0.4, 0.0], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], "aaaa")  # the first one is noise
    assert second > first


def test_equal_weights_where_nothing_is_better():
    assert learnt([0.1, 0.2, 0.8, 0.9], [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], "aaaa") == [1.0, 1.0]


def test_each_category_has_a_scale_of_its_own():
    """All together, the second space would look like chance."""
    first, second = learnt([0.4, 0.3, 0.4, 0.3], [10.1, 10.2, 0.1, 0.2], [0, 1, 0, 1], "aabb")
    assert second > first


def test_none_without_both_kinds_in_one_category():
    assert learnt([0.1, 0.2], [0.1, 0.2], [0, 0], "aa") is None
    assert learnt([0.1, 0.2], [0.1, 0.2], [0, 1], "ab") is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"matching": "aligned"}, "space_weights=learnt go with matching=nearest"),
        ({"matching": "nearest"}, "weighs spaces against one another"),
        ({"matching": "nearest", "spaces": ["teacher", "student"], "calibrate": True}, "would undo"),
    ],
)
def test_what_cannot_be_learnt_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        D24FAD(backbone="resnet18", pre_trained=False, space_weights="learnt", **options)
