# SPDX-License-Identifier: Apache-2.0
"""Laws of the objective."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomalib_fsad.models.pdd import PDDLoss
from anomalib_fsad.models.pdd.loss import diversity, sum_cosine, sum_mse

seeds = st.integers(0, 2**31)


def levels(seed: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4 * 2**i, 8 // 2**i, 8 // 2**i, generator=g) for i in range(3)]


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_perfect_students_that_may_be_alike_cost_nothing(seed):
    f = levels(seed)
    losses = PDDLoss("paper", tau_low=1.0)(f, f, f)
    assert losses["loss"].abs() < 1e-6
    # The released sign never lets go of the cosine.
    assert torch.isclose(PDDLoss("released", tau_low=1.0)(f, f, f)["loss"], torch.tensor(0.05 * 3))


@given(seeds, seeds)
@settings(max_examples=10, deadline=None)
def test_the_objectives_differ_by_the_sign_of_the_cosine(seed, other):
    f, a, b = levels(seed), levels(other), levels(seed + 1)
    paper, released = PDDLoss("paper")(f, a, b), PDDLoss("released")(f, a, b)
    assert torch.isclose(paper["loss"] - released["loss"], 0.05 * (3 - 2 * sum_cosine(f, a)), atol=1e-5)
    assert torch.isclose(paper["cosine"], 3 - sum_cosine(f, a), atol=1e-5)


def test_the_weighted_sum_written_out():
    f, a, b = levels(1), levels(2), levels(3)
    loss = PDDLoss("paper", kr_weight=2, mse_weight=3, cosine_weight=5, div_weight=7, tau_low=-0.5, tau_high=0.5)
    expected = (
        2 * sum(((x - y) ** 2).mean() for x, y in zip(f, b, strict=True))
        + 3 * sum(((x - y) ** 2).mean() for x, y in zip(f, a, strict=True))
        + 5 * sum((1 - torch.cosine_similarity(x.flatten(1), y.flatten(1))).mean() for x, y in zip(f, a, strict=True))
        + 7 * diversity(a, b, -0.5, 0.5)
    )
    assert torch.isclose(loss(f, a, b)["loss"], expected)


def test_diversity_asks_for_difference_on_top_and_agreement_below():
    same, opposite = levels(4), [-level for level in levels(4)]
    assert torch.isclose(diversity(same, same, 0.75, 0.30), torch.tensor(0.25))
    assert torch.isclose(diversity(same, opposite, 0.75, 0.30), torch.tensor(2 * 1.30))
    assert diversity([opposite[0], *same[1:]], same, 0.75, 0.30) == 0


@given(seeds, st.floats(0.1, 10))
@settings(max_examples=10, deadline=None)
def test_cosines_do_not_see_the_scale_and_errors_do(seed, scale):
    f, a = levels(seed), levels(seed + 1)
    scaled = [scale * level for level in a]
    assert torch.isclose(sum_cosine(f, scaled), sum_cosine(f, a), atol=1e-4)
    assert torch.isclose(
        sum_mse(scaled, [0 * level for level in a]), scale**2 * sum_mse(a, [0 * x for x in a]), rtol=1e-4
    )


@pytest.mark.parametrize("part", ["kr", "mse", "cosine", "div"])
def test_a_weight_of_zero_leaves_a_part_out(part):
    f, a, b = levels(5), [level.requires_grad_() for level in levels(6)], levels(7)
    weights = {f"{name}_weight": float(name == part) for name in ("kr", "mse", "cosine", "div")}
    losses = PDDLoss("paper", **weights)(f, a, b)
    assert torch.isclose(losses["loss"], losses[part])
    assert not losses[part].requires_grad
