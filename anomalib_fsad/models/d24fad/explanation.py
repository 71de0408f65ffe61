# SPDX-License-Identifier: Apache-2.0
"""What a verdict leaned on: the supports' shares, and the support's patch nearest to the hottest place."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anomalib_fsad.models.d24fad.nearest import Nearest
from anomalib_fsad.models.d24fad.patch_bank import Bank


class NearestPatch(NamedTuple):
    """The patch of a support that is nearest to the hottest place of each image.

    Attributes:
        support: which one, B.
        box: around the patch there: left, top, right, bottom as shares of width and height, B x 4.
    """

    support: Tensor
    box: Tensor


def hottest_patch(anomaly_map: Tensor, found: Sequence[Nearest], bank: Bank) -> NearestPatch:
    """Look the nearest patch up at the map's highest place, at the level that adds most to it.

    Args:
        anomaly_map: B x 1 x H x W.
        found: of each level, B x h x w.
        bank: that it was found in.
    """
    batch, _, height, width = anomaly_map.shape
    image = torch.arange(batch, device=anomaly_map.device)
    hottest = anomaly_map.flatten(1).argmax(1)
    heat, owners, boxes = [], [], []
    for nearest, level in zip(found, bank.levels, strict=True):
        rows, columns = nearest.row.shape[-2:]
        at = (image, (hottest // width) * rows // height, (hottest % width) * columns // width)
        row = nearest.row[at]
        heat.append(nearest.distance[at] / level.usual)
        owners.append(level.owners[row])
        centre = level.places[row].flip(-1)  # x, y
        half = 0.5 / level.grid.flip(0)
        boxes.append(torch.cat([centre - half, centre + half], dim=1).clamp(0, 1))
    most = torch.stack(heat).argmax(0)
    return NearestPatch(torch.stack(owners)[most, image], torch.stack(boxes)[most, image])


def support_shares(found: Sequence[Nearest], bank: Bank) -> Tensor:
    """Which share of an image's places has its nearest patch in each support: B x levels x K."""
    numbers = torch.arange(bank.shots, device=found[0].row.device)
    return torch.stack(
        [
            (level.owners[nearest.row].unsqueeze(-1) == numbers).float().mean(dim=(1, 2))
            for nearest, level in zip(found, bank.levels, strict=True)
        ],
        dim=1,
    )
