# SPDX-License-Identifier: Apache-2.0
"""``python -m anomalib_fsad.data.phantom OUT.png``: the contact sheet of the phantom set."""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from anomalib_fsad.data.phantom.generate import Phantom, make_phantom
from anomalib_fsad.data.phantom.lesions import LESIONS
from anomalib_fsad.data.phantom.organs import ORGANS

OUTLINE = (70, 230, 120)
GAP, HEADER, MARGIN = 4, 18, 78


def contact_sheet(tile: int = 100, seed: int = 3) -> Image.Image:
    """One row an organ: two healthy patients, then each kind of lesion with its outline."""
    columns = ["healthy", "healthy", *LESIONS]
    size = (MARGIN + len(columns) * (tile + GAP), HEADER + len(ORGANS) * (tile + GAP))
    sheet = Image.new("RGB", size, (24, 26, 30))
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(columns):
        pen.text((MARGIN + column * (tile + GAP) + 4, 3), title, fill=(225, 225, 225))
    for row, organ in enumerate(ORGANS):
        top = HEADER + row * (tile + GAP)
        pen.text((4, top + tile // 2 - 6), organ, fill=(225, 225, 225))
        for column, title in enumerate(columns):
            lesion = title if title in LESIONS else None
            phantom = make_phantom(organ, [seed, row, column], tile, lesion)
            sheet.paste(Image.fromarray(_outlined(phantom)), (MARGIN + column * (tile + GAP), top))
    return sheet


def _outlined(phantom: Phantom) -> NDArray[np.uint8]:
    colour = phantom.image if phantom.image.ndim == 3 else np.repeat(phantom.image[..., None], 3, axis=2)  # noqa: PLR2004
    padded = np.pad(phantom.mask, 1)
    around = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    colour = colour.copy()
    colour[around & ~phantom.mask] = OUTLINE
    return colour


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(prog="python -m anomalib_fsad.data.phantom", description=contact_sheet.__doc__)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--tile", type=int, default=100, help="pixels of one image")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    contact_sheet(args.tile, args.seed).quantize(256, dither=Image.Dither.NONE).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
