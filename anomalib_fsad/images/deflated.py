# SPDX-License-Identifier: Apache-2.0
"""DICOM files that are compressed as a whole, which may be bombs: asked before pydicom inflates them."""

import zlib
from pathlib import Path
from typing import Any

from anomalib_fsad.images.decoding import MAX_PIXELS, ImageReadError

MAX_INFLATED = 8 * MAX_PIXELS
"""Bytes of such a file: the largest image at 16 bits a colour, and room for the rest."""

CHUNK = 1 << 20

META_GROUP = 2

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Their transfer syntax."""


def refuse_deflated_bomb(pydicom: Any, source: Path, path: str | Path) -> None:
    """Refuse a file that is compressed as a whole and grows beyond any image: pydicom inflates it before it looks."""
    with source.open("rb") as file:
        pydicom.filereader.read_preamble(file, force=False)
        meta = pydicom.filereader.read_dataset(
            file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != META_GROUP
        )
        # Each is looked at, since pydicom would read meta information that cannot be understood in another way.
        if {element.keyword: element.value for element in meta}.get("TransferSyntaxUID") != DEFLATED:
            return
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while part := inflate.unconsumed_tail or file.read(CHUNK):
            size += len(inflate.decompress(part, CHUNK))
            if size > MAX_INFLATED:
                raise ImageReadError(path, f"it inflates to more than {MAX_INFLATED >> 20} MiB.")
