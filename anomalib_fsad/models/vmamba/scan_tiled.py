# SPDX-License-Identifier: Apache-2.0
"""The selective scan for a CPU without a compiler: tiles that stay in the cache, and few large operations on each.

Symbols and shapes as in ``scan.py``; a *row* is one direction of one image, R of them run side by side. A tile holds T
steps of R rows: its decays ``exp(delta A)`` and inputs ``delta B u`` are computed at once, then each step adds what
the one before it leaves, in place, and one product with C reads all of them.

Where the rows are too few to keep the cores busy, the steps of a tile run as G *lanes* of S steps side by side. Each
lane starts from nothing and multiplies up its decays, a number in [0, 1] that cannot overflow; then each lane
in turn adds its share of the state that the lane before it ends with. No exponential is computed twice.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

STEP = 49_152
"""States that a step should have to occupy torch's threads (which share nothing smaller than 32,768)."""
TILE = 196_608
"""States of a tile: decays and states, 1.5 MB together, stay in the caches of two cores."""


class Tiling(NamedTuple):
    """How much is done at once."""

    rows: int
    lanes: int
    steps: int

    @classmethod
    def of(cls, rows: int, states: int, length: int) -> "Tiling":
        """For rows of so many states (N D) and so many steps.

        Example:
            >>> Tiling.of(rows=4, states=16 * 192, length=4096)  # one image, first stage of VMamba-Tiny at 256 pixels
            Tiling(rows=4, lanes=4, steps=4)
            >>> Tiling.of(rows=64, states=16 * 1536, length=64)  # 16 images, last stage
            Tiling(rows=2, lanes=1, steps=4)
        """
        rows = min(rows, max(1, STEP // states))
        lanes = min(max(1, STEP // (rows * states)), length)
        return cls(rows, lanes, min(max(1, TILE // (rows * states * lanes)), length // lanes))


def scan_tiled(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, tiling: Tiling | None = None) -> Tensor:
    """The recurrence, tile by tile; without gradient."""
    batch, K, D, length = u.shape
    N = A.shape[-1]
    # Channels last, the long axis contiguous.
    u, delta = (x.transpose(2, 3).reshape(batch * K, length, 1, D) for x in (u, delta))
    B, C = (x.transpose(2, 3).reshape(batch * K, length, N, 1) for x in (B, C))
    A = A.transpose(1, 2).contiguous().repeat(batch, 1, 1).unsqueeze(1)  # BK 1 N D
    y = u.new_empty(batch * K, length, 1, D)
    tiling = tiling or Tiling.of(batch * K, N * D, length)
    for row in range(0, batch * K, tiling.rows):
        rows = slice(row, row + tiling.rows)
        _scan_rows(u[rows], delta[rows], A[rows], B[rows], C[rows].transpose(2, 3), y[rows], tiling)
    return y.view(batch, K, length, D).transpose(2, 3)


def _scan_rows(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, y: Tensor, tiling: Tiling) -> None:
    """u, delta, y: R L 1 D    A: R 1 N D    B: R L N 1    C: R L 1 N."""
    rows, _, N, D = A.shape
    length, steps = u.shape[1], tiling.lanes * tiling.steps
    carry = A.new_zeros(rows, 1, N, D)
    decays, states = A.new_empty(2, rows, steps, N, D)
    advance = _in_lanes(states, decays, carry, tiling.lanes)
    tiles = zip(*(x.split(steps, dim=1) for x in (u, delta, B, C, y)), strict=True)
    for u_t, delta_t, B_t, C_t, y_t in tiles:
        if u_t.shape[1] < steps:  # the last tile, where L is no multiple
            decays, states = (x[:, : length % steps] for x in (decays, states))
            advance = _in_lanes(states, decays, carry, lanes=1)
        torch.mul(delta_t, A, out=decays).exp_()
        torch.mul(B_t, delta_t * u_t, out=states)
        carry.copy_(advance())
        y_t.copy_(torch.matmul(C_t, states))


def _in_lanes(states: Tensor, decays: Tensor, carry: Tensor, lanes: int) -> Callable[[], Tensor]:
    """What turns the inputs in ``states`` into states, in place, R T N D, and returns the last one.

    With more than one lane the decays become those since the start of their lane.
    """
    states_of_lanes, decays_of_lanes = (x.unflatten(1, (lanes, -1)) for x in (states, decays))  # R G S N D
    if lanes == 1:
        within, across = [], (states.split(1, dim=1), decays.split(1, dim=1))
    else:
        steps, step_decays = states_of_lanes.unbind(2), decays_of_lanes.unbind(2)
        within = list(zip(steps, step_decays, steps[1:], step_decays[1:], strict=False))
        across = (states_of_lanes.unbind(1), decays_of_lanes.unbind(1))
    lasts = [lane[:, -1:] for lane in across[0]]
    each = list(zip(across[0], across[1], [carry, *lasts], strict=False))

    def advance() -> Tensor:
        for state, decay, next_state, next_decay in within:
            next_state.addcmul_(next_decay, state)
            next_decay.mul_(decay)
        for lane, decay, before in each:
            lane.addcmul_(decay, before)
        return lasts[-1]

    return advance
