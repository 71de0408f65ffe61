# SPDX-License-Identifier: Apache-2.0
"""Laws of the loss."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomalib_fsad.models.scrd4ad.loss import ContrastiveDistillationLoss, relative_entropy, scale_distances


def loss(*features: object, penalty: float = 0.0) -> Tensor:
    return ContrastiveDistillationLoss(penalty)(*features)["loss"]


def features(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, s, s, generator=generator) for c, s in ((4, 8), (8, 4), (16, 2))]


def test_zero_on_the_clean_features_and_large_on_the_spoiled_ones() -> None:
    u, v = features(0), features(1)
    assert loss(u, v, u) == pytest.approx(0, abs=1e-6)
    assert loss(u, v, v) > 1e3
    assert loss(u, u, features(2)) == 1


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 100), st.integers(0, 1000))
def test_neither_the_length_of_features_nor_a_common_factor_of_the_weights_counts(factor: float, seed: int) -> None:
    u, v, s = features(seed), features(seed + 1), features(seed + 2)
    weights = torch.rand(2, 3, generator=torch.Generator().manual_seed(seed))
    value = loss(u, v, s, weights.log())
    assert torch.allclose(loss(u, v, [factor * x for x in s], weights.log()), value, rtol=1e-4)
    assert torch.allclose(loss(u, v, s, (factor * weights).log()), value, rtol=1e-4)


def test_equal_weights_are_no_weights_and_one_hot_weights_pick_a_scale() -> None:
    u, v, s = features(0), features(1), features(2)
    assert torch.allclose(loss(u, v, s, torch.full((2, 3), 1 / 3).log()), loss(u, v, s))
    one = torch.tensor([[-60.0, 0.0, -60.0]]).expand(2, 3)
    assert torch.allclose(loss(u, v, s, one), loss(u[1:2], v[1:2], s[1:2]))


def test_distances_are_of_each_image_alone() -> None:
    u, s = features(0), features(1)
    first = scale_distances([x[:1] for x in u], [x[:1] for x in s])
    assert torch.allclose(scale_distances(u, s)[:1], first)


def test_the_penalty_pulls_a_collapsed_head_back_and_leaves_even_weights_alone() -> None:
    u, v, s = features(0), features(1), features(2)
    logits = torch.tensor([[60.0, 0.0, -60.0]]).expand(2, 3).clone().requires_grad_()
    loss(u, v, s, logits.log_softmax(1), penalty=0.1).backward()
    assert torch.allclose(logits.grad.sum(0), torch.tensor([2, -1, -1]) * 0.1 / 3, atol=1e-4)
    even = torch.full((2, 3), 1 / 3).log()
    assert torch.allclose(loss(u, v, s, even, penalty=5.0), loss(u, v, s))


def test_relative_entropy_is_one_when_even_and_zero_when_collapsed() -> None:
    assert relative_entropy(torch.full((5, 3), 1 / 3)) == pytest.approx(1)
    assert relative_entropy(torch.tensor([[0.0, 0.0, 1.0]])) == 0


def test_without_spoiled_images_it_is_the_distance_alone() -> None:
    u, s = features(0), features(1)
    assert loss(u, None, u) == pytest.approx(0, abs=1e-6)
    assert torch.allclose(loss(u, None, s), scale_distances(u, s).sum(1).mean())
    assert set(ContrastiveDistillationLoss()(u, None, s)) == {"loss"}
