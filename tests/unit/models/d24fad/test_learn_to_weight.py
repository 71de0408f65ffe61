# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_fsad.models.d24fad.learn_to_weight import LearnToWeight, weigh_references


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_weights_are_shares_and_shared_references_are_as_good_as_each_its_own():
    query, keys, values = maps(3, 4, 2, 2), maps(5, 4, 2, 2, seed=1), maps(5, 4, 2, 2, seed=2)
    blended, weights = weigh_references(query, keys, values)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    each = weigh_references(query, keys.expand(3, -1, -1, -1, -1), values.expand(3, -1, -1, -1, -1))
    torch.testing.assert_close((blended, weights), each)


def test_order_of_references_does_not_matter():
    query, keys, values = maps(2, 4, 3, 3), maps(4, 4, 3, 3, seed=1), maps(4, 4, 3, 3, seed=2)
    blended, weights = weigh_references(query, keys, values)
    order = [2, 0, 3, 1]
    reordered, reordered_weights = weigh_references(query, keys[order], values[order])
    torch.testing.assert_close(reordered, blended)
    torch.testing.assert_close(reordered_weights, weights[:, order])


def test_equal_references_are_their_own_blend():
    value = maps(1, 4, 3, 3)
    blended, weights = weigh_references(maps(2, 4, 3, 3, seed=1), *[value.expand(3, -1, -1, -1)] * 2)
    torch.testing.assert_close(blended, value.expand(2, -1, -1, -1))
    torch.testing.assert_close(weights, torch.full((2, 3), 1 / 3))


def test_large_products_survive_half_precision():
    query = 300 * maps(2, 8, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        blended, weights = weigh_references(query, query.clone(), query.clone())
    assert torch.isfinite(blended).all()
    torch.testing.assert_close(weights, torch.eye(2))


def test_keys_project_whatever_leads():
    l2w = LearnToWeight([4, 6])
    values = [maps(2, 3, 4, 5, 5), maps(2, 3, 6, 5, 5)]
    keys = l2w.keys(values)
    torch.testing.assert_close(keys[1][1, 2], l2w.projections[1](values[1][1, 2][None])[0])
