# SPDX-License-Identifier: Apache-2.0
"""Nearest patches: pure functions of maps and a bank of patches.

A distance is half the squared difference of two patches. Which patch is nearest is decided by a matrix product; how far
it is, by the difference of the two itself. So nothing cancels, and a runtime that takes the product in bfloat16 may at
worst take the second nearest for the nearest.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalib_fsad.models.components import in_float32

Space = Literal["student", "teacher", "residual"]

SPACES: dict[Space, int] = {"student": 3, "teacher": 4, "residual": 3}
"""What patches may be taken from, and how many levels each has: strides 4, 8 and 16, and the teacher's 32 too."""


class Nearest(NamedTuple):
    """What the bank has for each place of a query.

    Attributes:
        distance: to the nearest patch, B x h x w.
        row: of that patch in the bank, B x h x w.
    """

    distance: Tensor
    row: Tensor


@in_float32
def levels_of(
    teacher: Sequence[Tensor], student: Sequence[Tensor], spaces: Sequence[Space], weights: Tensor
) -> list[Tensor]:
    """The maps whose patches are compared, those of all spaces one after the other.

    The finest maps are halved, so that no level has more places than stride 8. The residual is the difference of the
    two networks' unit vectors: what the student makes of a place otherwise than the teacher does.

    Args:
        teacher: B x C_s x h_s x w_s at strides 4, 8, 16 and 32.
        student: at strides 4, 8 and 16.
        spaces: in which order.
        weights: what each counts, S: maps grow by its root, and so distances by itself.
    """
    unit = [F.normalize(maps, dim=1, eps=1e-8) for maps in student]
    residual = [F.normalize(t, dim=1, eps=1e-8) - s for t, s in zip(teacher, unit, strict=False)]
    # A place of the fine maps sees little of the image: it is joined by its neighbours, as in PatchCore.
    fine = [_joined(_halved(teacher[0])), _joined(teacher[1])]
    known = {
        "student": [_halved(unit[0]), *unit[1:]],
        "teacher": [F.normalize(maps, dim=1, eps=1e-8) for maps in (*fine, *teacher[2:])],
        "residual": [_halved(residual[0]), *residual[1:]],
    }
    roots = weights.sqrt()
    return [maps * roots[place] for place, space in enumerate(spaces) for maps in known[space]]


@in_float32
def nearest_patches(query: Tensor, bank: Tensor, allowed: Tensor | None = None) -> Nearest:
    """Find the nearest patch of a bank for each place.

    Args:
        query: B x C x h x w.
        bank: N x C.
        allowed: which rows of the bank image b may be compared with, B x N; all by default.

    Example:
        >>> import torch
        >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> nearest_patches(torch.tensor([0.0, 0.9]).view(1, 2, 1, 1), bank).row.item()
        1
    """
    places = query.permute(0, 2, 3, 1)  # B h w C
    closeness = places @ bank.T - bank.square().sum(1) / 2  # B h w N
    if allowed is not None:
        closeness = closeness.masked_fill(~allowed[:, None, None], -torch.inf)
    row = closeness.argmax(-1)
    found = bank.index_select(0, row.flatten()).view_as(places)
    return Nearest(0.5 * (places - found).square().sum(-1), row)


def farthest_rows(patches: Tensor, count: int) -> Tensor:
    """A coreset as PatchCore's: ``count`` rows, each the farthest from all taken before it (greedy k-centre).

    Args:
        patches: N x C.
        count: how many to keep; all if there are no more.

    Example:
        >>> import torch
        >>> farthest_rows(torch.tensor([[0.0], [0.1], [5.0], [9.0]]), 3).tolist()
        [0, 3, 2]
    """
    if len(patches) <= count:
        return torch.arange(len(patches), device=patches.device)
    half_squares = patches.square().sum(1) / 2
    taken = torch.zeros(count, dtype=torch.long, device=patches.device)
    distance = torch.full_like(half_squares, torch.inf)
    for place in range(1, count):
        last = taken[place - 1]
        distance = torch.minimum(distance, half_squares + half_squares[last] - patches @ patches[last])
        distance[last] = -torch.inf  # never twice, were all patches alike
        taken[place] = distance.argmax()
    return taken


def _halved(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 2)


def _joined(maps: Tensor) -> Tensor:
    """The mean of each place and its eight neighbours."""
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)
