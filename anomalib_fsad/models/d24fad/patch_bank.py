# SPDX-License-Identifier: Apache-2.0
"""The support's patches: what ``matching="nearest"`` compares with."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from anomalib_fsad.models.d24fad.nearest import Nearest, farthest_rows, nearest_patches
from anomalib_fsad.models.d24fad.support import SupportSet
from anomalib_fsad.models.d24fad.views import view_places

MAXIMUM = 6144
"""Patches kept of each level: all of K = 4 at 128 pixels, each support seen six times."""


class Level(NamedTuple):
    """The patches of all supports in one space at one stride.

    Attributes:
        patches: N x C.
        owners: which support each is of, N.
        places: its row and column there, as shares of height and width, N x 2.
        grid: rows and columns of the maps, 2 numbers.
        usual: what counts as a distance of 1, 1 number.
    """

    patches: Tensor
    owners: Tensor
    places: Tensor
    grid: Tensor
    usual: Tensor


class Bank(NamedTuple):
    """The patches of K supports in all spaces and at all strides."""

    levels: list[Level]
    shots: int


class PatchSupport(SupportSet):
    """The support's images and the bank of their patches, as buffers; empty until some are given.

    Args:
        levels: of the bank.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(scales=0)
        self.count = levels
        for level in range(levels):
            for name in Level._fields:
                dtype = torch.long if name in {"owners", "grid"} else torch.float32
                self.register_buffer(f"{name}_{level}", torch.empty(0, dtype=dtype))

    @property
    def bank(self) -> Bank:
        """The patches that are compared with."""
        levels = [
            Level(*(cast("Tensor", getattr(self, f"{name}_{level}")) for name in Level._fields))
            for level in range(self.count)
        ]
        return Bank(levels, len(self))

    def hold_bank(self, bank: Bank) -> None:
        """Keep the patches of ``images``."""
        for number, level in enumerate(bank.levels):
            for name, value in level._asdict().items():
                setattr(self, f"{name}_{number}", value.detach())


def bank_of(levels: Sequence[Tensor], size: tuple[int, int], *, calibrate: bool, maximum: int = MAXIMUM) -> Bank:
    """The patches of K supports.

    Args:
        levels: maps of the supports and their views, K x V x C x h x w each, every support itself first.
        size: height and width of the images.
        calibrate: whether a distance of 1 is what the supports' own patches have to the *other* supports on average,
            at each level; with a single support there are no others, and distances stay as they are.
        maximum: patches to keep of each level.
    """
    bank = Bank([_level_of(maps.float(), size, maximum) for maps in levels], len(levels[0]))
    if not calibrate or bank.shots == 1:
        return bank
    apart = [nearest.distance.mean() for nearest in left_out([maps[:, 0] for maps in levels], bank)]
    scaled = zip(bank.levels, apart, strict=True)
    return bank._replace(levels=[level._replace(usual=usual.clamp_min(1e-6).view(1)) for level, usual in scaled])


def left_out(levels: Sequence[Tensor], bank: Bank) -> list[Nearest]:
    """Compare each support with the patches of the others only, K x C x h x w a level."""
    number = torch.arange(bank.shots, device=levels[0].device)[:, None]
    return [
        nearest_patches(maps, level.patches, level.owners != number)
        for maps, level in zip(levels, bank.levels, strict=True)
    ]


def _level_of(maps: Tensor, size: tuple[int, int], maximum: int) -> Level:
    shots, seen, channels, height, width = maps.shape
    patches = maps.permute(0, 1, 3, 4, 2).reshape(-1, channels)  # in the order K V h w
    owners = torch.arange(shots, device=maps.device).repeat_interleave(seen * height * width)
    places = view_places(size, (height, width))[:seen].to(maps.device).flatten(0, 2).repeat(shots, 1)
    rows = farthest_rows(patches, maximum)
    grid = torch.tensor([height, width], device=maps.device)
    return Level(patches[rows], owners[rows], places[rows], grid, patches.new_ones(1))
