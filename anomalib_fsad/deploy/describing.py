# SPDX-License-Identifier: Apache-2.0
"""What normal images are compared by, and what they say of one another."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.deploy.bundle import Metadata
from anomalib_fsad.deploy.network import Maps, Network
from anomalib_fsad.deploy.patches import Bank, Floats, bank_of

LEAST_USUAL = 1e-6
"""So that supports that are all alike do not divide by nothing."""


def seen_maps(network: Network, metadata: Metadata, images: NDArray[np.float32]) -> Maps:
    """B x H x W x 3 -> their maps from V sides, B x V x C x h x w for each level, each image itself first."""
    if metadata.bank is None or metadata.bank.views == 1:
        return tuple(level[:, None] for level in network.encode(images))
    each = [network.encode(network.views(image)) for image in images]
    return tuple(np.stack(level) for level in zip(*each, strict=True))


def described(network: Network, metadata: Metadata, chunks: Iterable[Maps]) -> tuple[Maps, Bank | None]:
    """K images' maps and, where patches are compared, the bank of these.

    Args:
        network: of the bundle.
        metadata: likewise.
        chunks: what ``seen_maps`` made of the images.
    """
    seen = [np.concatenate(level) for level in zip(*chunks, strict=True)]
    maps = tuple(np.ascontiguousarray(level[:, 0]) for level in seen)
    if metadata.bank is None:
        return maps, None
    return maps, calibrated(network, metadata, maps, bank_of(seen, _places(network, metadata), metadata.bank.maximum))


def calibrated(network: Network, metadata: Metadata, maps: Maps, bank: Bank) -> Bank:
    """The bank with what counts as a distance of 1: the mean one to the *other* supports, at each level."""
    count = len(maps[0])
    if metadata.bank is None or not metadata.bank.calibrated or count == 1:
        return bank
    plain = bank._replace(usual=np.ones_like(bank.usual))
    apart = []
    for place in range(count):
        found = network.compare(_one(maps, place), plain.without(place)).found
        apart.append([] if found is None else [level.mean(dtype=np.float64) for level in found.distances])
    return bank._replace(usual=np.maximum(np.mean(apart, axis=0), LEAST_USUAL).astype(np.float32))


def leave_one_out(network: Network, maps: Maps, bank: Bank | None) -> NDArray[np.float64]:
    """Raw scores, peaks and medians of the raw maps of each image against the others; none of one image."""
    found = []
    count = len(maps[0])
    for place in range(count if count > 1 else 0):
        others = tuple(np.delete(level, place, axis=0) for level in maps) if bank is None else bank.without(place)
        verdicts = network.compare(_one(maps, place), others)
        found.append((verdicts.raw_scores[0], verdicts.raw_maps.max(), np.median(verdicts.raw_maps)))
    return np.asarray(found, dtype=np.float64).reshape(-1, 3).T


def _one(maps: Maps, place: int) -> Maps:
    return tuple(level[place : place + 1] for level in maps)


def _places(network: Network, metadata: Metadata) -> Sequence[Floats]:
    """Where in the image each place of a map comes from, for all sides of a support: V x h x w x 2 a level.

    The views of an image whose pixels are their own places tell it.
    """
    height, width = metadata.image_size
    axes = ((np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n) for n in (height, width))
    rows, columns = np.meshgrid(*axes, indexing="ij")
    places = np.stack([rows, columns, np.zeros_like(rows)], axis=-1)
    seen = network.views(places) if metadata.bank is not None and metadata.bank.views > 1 else places[None]
    grids = [shape[1:] for shape in metadata.map_shapes]
    return [seen[..., :2].reshape(len(seen), h, height // h, w, width // w, 2).mean(axis=(2, 4)) for h, w in grids]
