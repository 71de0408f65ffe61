# SPDX-License-Identifier: Apache-2.0
"""Small files that would fill all memory if they were believed.

    python -m tests.fuzz.bombs make FOLDER
    python -m tests.fuzz.bombs read FOLDER

The second reads them one after another, and says beside each outcome what memory the process has needed until then.
"""

import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from anomalib_fsad.deploy.bundle import digest_of
from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.images.decoding import read_mask, read_rgb
from tests.fuzz.attack import peak_kib, silence
from tests.fuzz.kinds import is_clear
from tests.fuzz.pictures import dicom_bytes, pixels, slice_of

ABOVE, BELOW = 14_000, 12_000
"""Widths and heights, above the limit at which Pillow raises an error by itself, and below it."""


def image_bombs() -> Iterator[tuple[str, bytes]]:
    """One of each format, and those that only one format can be."""
    for side, name in ((ABOVE, "above"), (BELOW, "below")):
        yield f"{name}.png", png_of(side)
        yield f"{name}.tif", tiff_of(side)
        bmp = bmp_of_runs()
        yield f"{name}.bmp", bmp[:18] + side.to_bytes(4, "little") * 2 + bmp[26:]
    jpeg = saved(Image.new("L", (16, 16)), "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield "large.jpg", jpeg[:at] + (60_000).to_bytes(2, "big") * 2 + jpeg[at + 4 :]
    yield "claims.dcm", dicom_bytes(slice_of(pixels(deep=True), Rows=65535, Columns=65535))
    frame = encapsulate([saved(Image.new("L", (9_000, 9_000)), "JPEG")])
    compressed = slice_of(pixels(), JPEGBaseline8Bit)
    compressed.PixelData = frame
    compressed["PixelData"].VR = "OB"
    yield "frame.dcm", dicom_bytes(compressed)
    yield "deflated.dcm", deflated_dicom(600 << 20)
    runs = slice_of(pixels(), RLELossless)
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    runs.PixelData = encapsulate([header + b"\x81\x00" * 8_000_000])
    runs["PixelData"].VR = "OB"
    yield "runs.dcm", dicom_bytes(runs)


def deflated_dicom(size: int) -> bytes:
    """A file that is compressed as a whole, with so many bytes of pixels in it."""
    small = dicom_bytes(slice_of(pixels(), DeflatedExplicitVRLittleEndian))
    start = 132 + 12 + int.from_bytes(small[140:144], "little")  # behind the preamble and the meta information
    plain = zlib.decompress(small[start:], -zlib.MAX_WBITS)
    before = plain[: plain.index(b"\xe0\x7f\x10\x00")]
    deflate = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    parts = [deflate.compress(before + b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little"))]
    parts += [deflate.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return small[:start] + b"".join(parts) + deflate.flush()


def saved(image: Image.Image, kind: str) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png_of(side: int) -> bytes:
    """A black PNG whose pixels are deflated line by line, so that making it needs no memory either."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    deflate = zlib.compressobj(1)
    lines = b"".join(deflate.compress(bytes(side + 1)) for _ in range(side)) + deflate.flush()
    header = side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def tiff_of(side: int) -> bytes:
    """A black TIFF of one deflated strip."""
    deflate = zlib.compressobj(1)
    strip = b"".join(deflate.compress(bytes(side)) for _ in range(side)) + deflate.flush()
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: side, 279: len(strip)}
    entries = b"".join(
        tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, value in tags.items()
    )
    directory = len(tags).to_bytes(2, "little") + entries + bytes(4)
    return b"II*\x00" + (8 + len(strip)).to_bytes(4, "little") + strip + directory


def bmp_of_runs() -> bytes:
    """A BMP of eight-bit runs that end at once; its pixels are all left out."""
    plain = bytearray(saved(Image.new("P", (16, 16)), "BMP"))
    start = int.from_bytes(plain[10:14], "little")
    plain[30:34], plain[34:38] = (1).to_bytes(4, "little"), (2).to_bytes(4, "little")
    return bytes(plain[:start]) + b"\x00\x01"


def enrolment_bombs() -> Iterator[tuple[str, bytes]]:
    """Archives that inflate, and arrays that claim to be large."""
    for name, method in (("deflated.npz", zipfile.ZIP_DEFLATED), ("claims.npz", zipfile.ZIP_STORED)):
        claimed = (1 << 40,) if method == zipfile.ZIP_STORED else (1 << 28,)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": claimed})
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive, archive.open("map_1.npy", "w") as entry:
            entry.write(header.getvalue())
            for _ in range(1024 if method == zipfile.ZIP_DEFLATED else 1):
                entry.write(bytes(1 << 20))
        yield name, buffer.getvalue()
    document = {"format": "anomalib-fsad-enrolment", "version": 2, "names": ["x"] * 1000, "arrays": {}}
    document["digest"] = digest_of(document)
    buffer = io.BytesIO()
    np.savez(buffer, metadata=np.frombuffer(json.dumps(document).encode(), dtype=np.uint8))
    yield "empty.npz", buffer.getvalue()


def make(folder: Path) -> None:
    """Write all of them."""
    for bombs in (image_bombs, enrolment_bombs):
        for name, content in bombs():
            (folder / name).write_bytes(content)


def read(folder: Path) -> None:
    """Read all of them."""
    with silence():
        for path in sorted(folder.iterdir()):
            image = [read_rgb] if path.suffix == ".dcm" else [read_rgb, read_mask]
            for reader in [Enrolment.load] if path.suffix == ".npz" else image:
                told = outcome(reader, path)
                print(f"{peak_kib() >> 10:5} MiB  {path.stat().st_size:10,} bytes  {path.name}: {told}")


def outcome(reader: Callable[[Path], object], path: Path) -> str:
    """What a user is told; what is no refusal of ours is raised."""
    try:
        reader(path)
    except Exception as error:
        if not is_clear(error):
            raise
        return str(error).replace(str(path), path.name)[:90]
    return "read"


if __name__ == "__main__":
    {"make": make, "read": read}[sys.argv[1]](Path(sys.argv[2]))
