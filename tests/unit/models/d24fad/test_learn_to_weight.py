# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_fsad.models.d24fad.learn_to_weight import LearnToWeight, weigh_partners, weigh_support


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_weights_are_shares_and_a_shared_support_is_as_good_as_each_its_own():
    query, keys, values = maps(3, 4, 2, 2), maps(5, 4, 2, 2, seed=1), maps(5, 4, 2, 2, seed=2)
    blended, weights = weigh_support(query, keys, values)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    each = weigh_support(query, keys.expand(3, -1, -1, -1, -1), values.expand(3, -1, -1, -1, -1))
    torch.testing.assert_close((blended, weights), each)


def test_order_of_the_support_does_not_matter():
    query, keys, values = maps(2, 4, 3, 3), maps(4, 4, 3, 3, seed=1), maps(4, 4, 3, 3, seed=2)
    blended, weights = weigh_support(query, keys, values)
    order = [2, 0, 3, 1]
    reordered, reordered_weights = weigh_support(query, keys[order], values[order])
    torch.testing.assert_close(reordered, blended)
    torch.testing.assert_close(reordered_weights, weights[:, order])


def test_equal_supports_are_their_own_blend():
    value = maps(1, 4, 3, 3)
    blended, weights = weigh_support(maps(2, 4, 3, 3, seed=1), *[value.expand(3, -1, -1, -1)] * 2)
    torch.testing.assert_close(blended, value.expand(2, -1, -1, -1))
    torch.testing.assert_close(weights, torch.full((2, 3), 1 / 3))


def test_large_products_survive_half_precision():
    query = 300 * maps(2, 8, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        blended, weights = weigh_support(query, query.clone(), query.clone())
    assert torch.isfinite(blended).all()
    torch.testing.assert_close(weights, torch.eye(2))


def test_keys_project_whatever_leads():
    l2w = LearnToWeight([4, 6])
    values = [maps(2, 3, 4, 5, 5), maps(2, 3, 6, 5, 5)]
    keys = l2w.keys(values)
    torch.testing.assert_close(keys[1][1, 2], l2w.projections[1](values[1][1, 2][None])[0])


def test_partners_are_a_support_of_ones_own():
    images, keys = maps(4, 8, 3, 3), maps(4, 8, 3, 3, seed=1)
    partners = torch.tensor([[1, 2], [0, 0], [3, 1], [2, 0]])
    counts = torch.zeros(4, 4)
    for place, row in enumerate(partners):
        counts[place] = torch.bincount(row, minlength=4)
    blended = weigh_partners(images, keys, counts)
    torch.testing.assert_close(blended, weigh_support(images, keys[partners], images[partners])[0])


def test_sums_over_many_terms_are_those_of_float64():
    query, keys = maps(2, 256, 32, 32), maps(3, 256, 32, 32, seed=1)
    weights = weigh_support(query, keys, keys)[1]
    exact = torch.softmax(query.double().flatten(1) @ keys.double().flatten(1).T / 16, dim=1)
    torch.testing.assert_close(weights.double(), exact, atol=1e-5, rtol=1e-4)
