# SPDX-License-Identifier: Apache-2.0
"""The four walks over a plane, as tables of positions."""

from typing import NamedTuple

import torch
from torch import Tensor


class Walks(NamedTuple):
    """By rows, by columns, and both backwards.

    Example:
        >>> there, back = Walks.over(2, 3)
        >>> there.tolist()
        [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]
        >>> there.gather(1, back)[3].tolist()
        [0, 1, 2, 3, 4, 5]
    """

    positions: Tensor
    """K L: where a walk is at each of its steps."""
    steps: Tensor
    """K L: at which of its steps a walk comes to each position."""

    @classmethod
    def over(cls, height: int, width: int, device: torch.device | str = "cpu") -> "Walks":
        """Of a plane of so many rows and columns."""
        rows = torch.arange(height * width, device=device)
        positions = [rows, rows.view(height, width).t().flatten()]
        steps = [rows, rows.view(width, height).t().flatten()]
        last = height * width - 1
        return cls(
            torch.stack([*positions, *(walk.flip(0) for walk in positions)]),
            torch.stack([*steps, *(last - step for step in steps)]),
        )
