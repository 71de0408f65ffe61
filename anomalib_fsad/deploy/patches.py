# SPDX-License-Identifier: Apache-2.0
"""The support's patches without torch: what a D24FAD with ``matching=nearest`` compares with, and what it found there.

As :mod:`anomalib_fsad.models.d24fad.patch_bank` and :mod:`anomalib_fsad.models.d24fad.explanation` do it in torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

OWNER, PLACE = 0, slice(1, 3)
"""Columns of ``Level.origins``."""


class Level(NamedTuple):
    """The patches of all supports at one level.

    Attributes:
        patches: N x C.
        origins: which support each is of, and its row and column there as shares of height and width: N x 3.
    """

    patches: Floats
    origins: Floats


class Bank(NamedTuple):
    """The patches of K supports.

    Attributes:
        levels: one for each map.
        usual: what counts as a distance of 1 at each level.
    """

    levels: tuple[Level, ...]
    usual: Floats

    def without(self, support: int) -> "Bank":
        """The patches of the others."""
        kept = [level.origins[:, OWNER] != support for level in self.levels]
        levels = zip(self.levels, kept, strict=True)
        return self._replace(levels=tuple(Level(level.patches[keep], level.origins[keep]) for level, keep in levels))

    def joined(self, other: "Bank", shots: int, maximum: int) -> "Bank":
        """These patches and those of more supports, distances as they are.

        Args:
            other: the bank of these.
            shots: how many supports there are already.
            maximum: patches to keep of each level.
        """
        later = np.array([shots, 0, 0], dtype=np.float32)
        both = [
            (np.concatenate([ours.patches, theirs.patches]), np.concatenate([ours.origins, theirs.origins + later]))
            for ours, theirs in zip(self.levels, other.levels, strict=True)
        ]
        return Bank(tuple(_reduced(*level, maximum) for level in both), np.ones_like(self.usual))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is saved of it."""
        levels = enumerate(self.levels, start=1)
        parts = {f"{name}_{number}": part for number, level in levels for name, part in level._asdict().items()}
        return {"usual": self.usual, **parts}


class Found(NamedTuple):
    """The nearest patch of each place of B images, at each level: B x h x w."""

    distances: tuple[Floats, ...]
    rows: tuple[Rows, ...]


class NearestPatch(NamedTuple):
    """The patch of a support that is nearest to the hottest place of each image.

    Attributes:
        support: which one, B.
        box: around the patch there: left, top, right, bottom as shares of width and height, B x 4.
    """

    support: Rows
    box: Floats


def bank_of(levels: Sequence[Floats], places: Sequence[Floats], maximum: int) -> Bank:
    """The patches of K supports, distances as they are.

    Args:
        levels: maps of the supports from V sides, K x V x C x h x w each, every support itself first.
        places: where in the image each place of each side comes from, V x h x w x 2 each.
        maximum: patches to keep of each level.
    """
    found = []
    for maps, place in zip(levels, places, strict=True):
        shots, seen, channels, height, width = maps.shape
        patches = maps.transpose(0, 1, 3, 4, 2).reshape(-1, channels)  # in the order K V h w
        owners = np.repeat(np.arange(shots, dtype=np.float32), seen * height * width)[:, None]
        origins = np.concatenate([owners, np.tile(place.reshape(-1, 2), (shots, 1))], axis=1)
        found.append(_reduced(patches, origins, maximum))
    return Bank(tuple(found), np.ones(len(found), dtype=np.float32))


def bank_from_arrays(arrays: Mapping[str, NDArray[Any]], channels: Sequence[int], shots: int) -> Bank | None:
    """What :meth:`Bank.arrays` gave, checked; ``None`` if no bank is among them.

    Args:
        arrays: that were saved.
        channels: C of each level.
        shots: how many supports there are.
    """
    usual = arrays.get("usual")
    if usual is None:
        return None
    numbers = range(1, len(channels) + 1)
    levels = tuple(Level(arrays[f"patches_{number}"], arrays[f"origins_{number}"]) for number in numbers)
    right = usual.shape == (len(channels),) and usual.dtype == np.float32
    for (patches, origins), width in zip(levels, channels, strict=True):
        count = len(patches)
        right &= count > 0 and patches.shape == (count, width) and origins.shape == (count, 3)
        right &= patches.dtype == origins.dtype == np.float32
        right &= bool(np.isin(origins[..., OWNER], np.arange(shots)).all())
    if not right:
        msg = f"its patches are not those of {shots} images"
        raise ValueError(msg)
    return Bank(levels, usual)


def _reduced(patches: Floats, origins: Floats, maximum: int) -> Level:
    rows = farthest_rows(patches, maximum)
    return Level(np.ascontiguousarray(patches[rows]), np.ascontiguousarray(origins[rows], dtype=np.float32))


def farthest_rows(patches: Floats, count: int) -> Rows:
    """A coreset: ``count`` rows, each the farthest from all taken before it (greedy k-centre).

    Example:
        >>> farthest_rows(np.array([[0.0], [0.1], [5.0], [9.0]], dtype=np.float32), 3).tolist()
        [0, 3, 2]
    """
    if len(patches) <= count:
        return np.arange(len(patches))
    half_squares = np.square(patches).sum(axis=1) / 2
    taken = np.zeros(count, dtype=np.int64)
    distance = np.full(len(patches), np.inf, dtype=np.float32)
    for place in range(1, count):
        last = taken[place - 1]
        np.minimum(distance, half_squares + half_squares[last] - patches @ patches[last], out=distance)
        distance[last] = -np.inf  # never twice, were all patches alike
        taken[place] = distance.argmax()
    return taken


def support_shares(found: Found, bank: Bank, shots: int) -> Floats:
    """Which share of an image's places has its nearest patch in each support: B x levels x K."""
    shares = [
        (level.origins[rows, OWNER][..., None] == np.arange(shots)).mean(axis=(1, 2))
        for rows, level in zip(found.rows, bank.levels, strict=True)
    ]
    return np.stack(shares, axis=1).astype(np.float32)


def hottest_patch(maps: Floats, found: Found, bank: Bank) -> NearestPatch:
    """Look the nearest patch up at the map's highest place, at the level that adds most to it.

    Args:
        maps: B x H x W.
        found: of each level.
        bank: that it was found in.
    """
    batch, height, width = maps.shape
    image = np.arange(batch)
    hottest = maps.reshape(batch, -1).argmax(axis=1)
    heat, owners, boxes = [], [], []
    for distances, rows, level, usual in zip(*found, bank.levels, bank.usual, strict=True):
        grid = rows.shape[-2:]
        at = (image, (hottest // width) * grid[0] // height, (hottest % width) * grid[1] // width)
        origin = level.origins[rows[at]]
        heat.append(distances[at] / usual)
        owners.append(origin[:, OWNER])
        centre, half = origin[:, PLACE][:, ::-1], 0.5 / np.array(grid[::-1])  # x, y
        boxes.append(np.concatenate([centre - half, centre + half], axis=1).clip(0, 1))
    most = np.stack(heat).argmax(axis=0)
    return NearestPatch(np.stack(owners)[most, image].astype(np.int64), np.stack(boxes)[most, image].astype(np.float32))
