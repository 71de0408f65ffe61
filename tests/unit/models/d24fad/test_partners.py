# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_fsad.models.d24fad.partners import partners_in_batch


def test_partners_are_others_of_the_same_category():
    categories = ["a", "b", "a", "a", "b", "c"]
    counts = partners_in_batch(categories, 2, torch.Generator().manual_seed(0))
    assert counts.sum(dim=1).tolist() == [2] * 6
    for place, row in enumerate(counts):
        assert {categories[other] for other in row.nonzero().flatten().tolist()} == {categories[place]}
        if categories[place] != "c":
            assert row[place] == 0
    assert counts[0].tolist() == [0, 0, 1, 1, 0, 0]  # enough others: none twice
    assert counts[5].tolist() == [0, 0, 0, 0, 0, 2]
