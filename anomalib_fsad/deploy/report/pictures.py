# SPDX-License-Identifier: Apache-2.0
"""Images and maps -> small files inside the page."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from anomalib_fsad.html_page import data_uri
from anomalib_fsad.images.decoding import FloatImage, to_uint8

SIDES = ((200, 512), (600, 384), (2000, 256))
"""Up to how many images their pictures have how many pixels along the longer side."""

SMALLEST_SIDE = 192
QUALITY = 82

MAP_SIDE = 96
LOWEST = 0.3
"""The page shows no colour below 0.4; what lies deeper is one value, which costs no bytes."""

STEP = 4
"""Of the 256 values of a map, those that occur: the threshold, 0.5, parts 124 from 128."""


def side_for(count: int) -> int:
    """Pixels along the longer side of each of ``count`` pictures, so that a report of thousands can still be sent.

    Example:
        >>> side_for(40), side_for(3000)
        (512, 192)
    """
    return next((side for most, side in SIDES if count <= most), SMALLEST_SIDE)


def picture_uri(picture: FloatImage | NDArray[np.uint8], side: int) -> str:
    """A picture, shrunk to ``side`` and never enlarged."""
    pixels = picture if picture.dtype == np.uint8 else to_uint8(np.asarray(picture, dtype=np.float32))
    image = PilImage.fromarray(pixels)
    # A fast first step for very large pictures, as Pillow's own thumbnail() does it.
    image.thumbnail((side, side), PilImage.Resampling.LANCZOS, reducing_gap=2.0)
    grey = _is_grey(image)
    return _file(image.convert("L") if grey else image, "JPEG", quality=QUALITY, optimize=True)


def heat_uri(heat: NDArray[np.floating]) -> str:
    """A map in [0, 1] as grey values: 128 and more from 0.5 on."""
    values = PilImage.fromarray(np.clip(heat, LOWEST, 1).astype(np.float32))
    if max(values.size) > MAP_SIDE:
        scale = MAP_SIDE / max(values.size)
        size = (max(1, round(values.width * scale)), max(1, round(values.height * scale)))
        values = values.resize(size, PilImage.Resampling.BILINEAR)
    steps = np.clip(np.asarray(values) * 256, 0, 255).astype(np.uint8) // STEP * STEP
    return _file(PilImage.fromarray(steps), "PNG", optimize=True)


def mask_uri(mask: NDArray[np.bool_]) -> str:
    """A mask in black and white."""
    image = PilImage.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    image.thumbnail((2 * MAP_SIDE, 2 * MAP_SIDE), PilImage.Resampling.NEAREST)
    return _file(image.convert("1"), "PNG", optimize=True)


def _is_grey(image: PilImage.Image) -> bool:
    pixels = np.asarray(image).astype(np.int16)
    return pixels.ndim == 2 or not (np.ptp(pixels, axis=2) > 2).any()  # noqa: PLR2004


def _file(image: PilImage.Image, kind: str, **options: int | bool) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return data_uri(buffer.getvalue(), f"image/{kind.lower()}")
