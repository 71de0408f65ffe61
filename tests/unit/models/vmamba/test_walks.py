# SPDX-License-Identifier: Apache-2.0
"""Laws of the walks."""

import pytest
import torch

from anomalib_fsad.models.vmamba.walks import Walks


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (4, 3), (8, 8)])
def test_each_walk_comes_once_to_each_position(height, width):
    walks = Walks.over(height, width)
    everywhere = torch.arange(height * width).expand(4, -1)
    assert torch.equal(walks.positions.sort(dim=1).values, everywhere)
    assert torch.equal(walks.positions.gather(1, walks.steps), everywhere)
