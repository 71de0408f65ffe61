# SPDX-License-Identifier: Apache-2.0
"""A support image seen six times: as it is, mirrored, turned by 10 degrees either way, smaller and larger by a tenth.

New images of an organ are never quite in the pose of the few that are at hand.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TURN = math.radians(10)
TURNS_AND_SCALES = ((TURN, 1.0), (-TURN, 1.0), (0.0, 0.9), (0.0, 1.1))


def views(images: Tensor) -> Tensor:
    """Show images from six sides; what lies beyond the border repeats it.

    Args:
        images: K x C x H x W.

    Returns:
        K x 6 x C x H x W, each image itself first.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 8, 8)
        >>> seen = views(images)
        >>> tuple(seen.shape), bool((seen[:, 0] == images).all()), bool((seen[:, 1] == images.flip(-1)).all())
        ((2, 6, 3, 8, 8), True, True)
    """
    warped = [_warped(images, turn, scale) for turn, scale in TURNS_AND_SCALES]
    return torch.stack([images, images.flip(-1), *warped], dim=1)


def view_places(size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Where in the image the cells of a grid laid over each view come from.

    Args:
        size: height and width of the image.
        grid: rows and columns.

    Returns:
        6 x rows x columns x 2: the row and the column of the cell's centre, as shares of height and width.

    Example:
        >>> view_places((8, 8), (2, 2))[0].tolist()
        [[[0.25, 0.25], [0.25, 0.75]], [[0.75, 0.25], [0.75, 0.75]]]
    """
    rows, columns = ((torch.arange(n) + 0.5) / n for n in size)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # 2 H W
    return F.adaptive_avg_pool2d(views(places[None])[0], grid).permute(0, 2, 3, 1)


def _warped(images: Tensor, turn: float, scale: float) -> Tensor:
    height, width = images.shape[-2:]
    cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
    # The grid counts in halves of each side; the two ratios make a turn of a wide image a turn and no shear.
    theta = images.new_tensor([[cos, -sin * height / width, 0], [sin * width / height, cos, 0]])
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
