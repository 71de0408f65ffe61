# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_fsad.models.d24fad import D24FAD
from anomalib_fsad.models.d24fad.space_weights import learnt_weights, weight_grid


def maps_of(first: list[float], second: list[float]) -> torch.Tensor:
    """Flat maps of two spaces, N x 2 x 4 x 4."""
    return torch.tensor([first, second]).T[:, :, None, None].expand(-1, -1, 4, 4)


def test_the_grid_begins_with_equal_weights_and_has_every_space_alone():
    grid = weight_grid(3)
    assert len(grid) == 28
    torch.testing.assert_close(grid[0], torch.ones(3))
    torch.testing.assert_close(grid.sum(1), torch.full((28,), 3.0))
    assert [3.0, 0.0, 0.0] in grid.tolist()


def test_the_space_that_tells_them_is_the_one_that_counts():
    maps = maps_of([5.0, 0.0, 4.0, 0.0], [0.1, 0.2, 0.8, 0.9])  # the first one is loud and knows nothing
    weights = learnt_weights(maps, torch.tensor([0, 0, 1, 1]), ["a"] * 4, "max")
    assert weights == [0.0, 2.0]


def test_equal_weights_where_nothing_is_better():
    maps = maps_of([0.1, 0.2, 0.8, 0.9], [0.1, 0.2, 0.8, 0.9])
    assert learnt_weights(maps, torch.tensor([0, 0, 1, 1]), ["a"] * 4, "max") == [1.0, 1.0]


def test_each_category_has_a_scale_of_its_own():
    maps = maps_of([1.0, 1.0, 1.0, 1.0], [10.1, 10.2, 0.1, 0.2])  # together, the second one looks like chance
    weights = learnt_weights(maps + 0.01 * torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 0, 1]), list("aabb"), "max")
    assert weights[1] > 0


def test_none_without_both_kinds():
    assert learnt_weights(maps_of([0.1, 0.2], [0.1, 0.2]), torch.tensor([0, 0]), ["a", "a"], "max") is None
    assert learnt_weights(maps_of([0.1, 0.2], [0.1, 0.2]), torch.tensor([0, 1]), ["a", "b"], "max") is None


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
