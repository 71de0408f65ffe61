# SPDX-License-Identifier: Apache-2.0
"""DICOM -> RGB floats in [0, 1], by pydicom, which is imported on first use."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anomalib_fsad.images.decoding import (
    MAX_PIXELS,
    FloatImage,
    Header,
    ImageReadError,
    Intensity,
    grey_to_rgb,
    refuse_large,
    rescale,
)

MAX_INFLATED = 8 * MAX_PIXELS
"""Bytes of a file that is compressed as a whole: the largest image at 16 bits a colour, and room for the rest."""

CHUNK = 1 << 20

META_GROUP = 2

DEFLATED, RUN_LENGTHS = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
"""Transfer syntaxes: files that are compressed as a whole, and frames of run lengths."""

NO_RUN = 128
"""The head byte that stands for nothing."""

COLOUR = ("RGB", "YBR", "PALETTE")


def read_dicom(path: str | Path, how: Intensity) -> FloatImage:
    """Read one single-frame DICOM image: rescale slope and intercept, VOI LUT or window, MONOCHROME1 inverted.

    Args:
        path: the file.
        how: ``auto`` follows the file's own VOI LUT or window; the rest replaces it.

    Returns:
        H x W x 3, values in [0, 1].
    """
    with _reading(path) as pydicom:
        pixels = import_module("pydicom.pixels")
        _refuse_deflated_bomb(pydicom, path)
        data = pydicom.dcmread(path, force=False)
        _refuse_frames(data, path)
        _refuse_other_size(data, path)
        stored = data.pixel_array
        photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
        coloured = photometric.startswith(COLOUR)
        if stored.shape != (data.Rows, data.Columns, *((3,) if coloured and "PALETTE" not in photometric else ())):
            raise ImageReadError(path, f"its pixels are {stored.shape}, which is no {photometric} image.")
        if coloured:
            return _colour(pixels, data, stored, photometric)
        grey = _grey(pixels, data, stored, how)
    return grey_to_rgb(1 - grey if photometric == "MONOCHROME1" else grey)


def read_dicom_header(path: str | Path) -> Header:
    """Size of a single-frame DICOM image, without its pixels."""
    with _reading(path) as pydicom:
        _refuse_deflated_bomb(pydicom, path)
        data = pydicom.dcmread(path, force=False, stop_before_pixels=True)
        _refuse_frames(data, path)
        return Header(int(data.Columns), int(data.Rows), "DICOM")


@contextmanager
def _reading(path: str | Path) -> Iterator[Any]:
    """pydicom; whatever goes wrong with it names the file."""
    try:
        pydicom = import_module("pydicom")
    except ImportError as error:
        reason = "DICOM needs pydicom: pip install anomalib-fsad[dicom]"
        raise ImageReadError(path, reason) from error
    try:
        yield pydicom
    except ImageReadError:
        raise
    except Exception as error:
        file = Path(path)
        empty = file.is_file() and file.stat().st_size == 0
        reason = "the file is empty (0 bytes)." if empty else f"pydicom could not decode it ({error})."
        raise ImageReadError(path, reason if file.is_file() else "there is no such file.") from error


def _refuse_frames(data: Any, path: str | Path) -> None:
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageReadError(path, f"it is a multi-frame DICOM ({frames} frames). Save each frame as a file.")


def _refuse_deflated_bomb(pydicom: Any, path: str | Path) -> None:
    """Refuse a file that is compressed as a whole and grows beyond any image: pydicom inflates it before it looks."""
    with Path(path).open("rb") as file:
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


def _refuse_other_size(data: Any, path: str | Path) -> None:
    """Refuse too many pixels, and a compressed frame of another size than the file says: it may be a bomb."""
    refuse_large(path, int(data.Columns), int(data.Rows))
    if not data.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    frame = next(import_module("pydicom.encaps").generate_frames(data.PixelData, number_of_frames=1))
    if data.file_meta.TransferSyntaxUID == RUN_LENGTHS:
        _refuse_long_runs(frame, int(data.Columns) * int(data.Rows), path)
        return
    try:
        with Image.open(BytesIO(frame), formats=("JPEG", "JPEG2000")) as picture:
            size = picture.size
    except Image.UnidentifiedImageError:
        return
    if size != (data.Columns, data.Rows):
        reason = f"it says {data.Columns} x {data.Rows} pixels, but its compressed frame has {size[0]} x {size[1]}."
        raise ImageReadError(path, reason)


def _refuse_long_runs(frame: bytes, pixels: int, path: str | Path) -> None:
    """Refuse run lengths of many more bytes than the image has pixels: two bytes may stand for 128."""
    count, *offsets = struct.unpack("<16L", frame[:64])
    for start, end in pairwise([*offsets[:count], len(frame)]):
        # Short ones do no harm, however long their runs.
        if 128 * (end - start) > MAX_PIXELS and _run_length(frame[start:end], 2 * pixels) > 2 * pixels:
            raise ImageReadError(path, f"its run lengths are of more than its {pixels:,} pixels.")


def _run_length(segment: bytes, limit: int) -> int:
    """How many bytes a segment stands for, counted up to ``limit``; DICOM PS3.5 G.3.1."""
    at, size = 0, 0
    while at < len(segment) and size <= limit:
        head = segment[at]
        size += head + 1 if head < NO_RUN else (2 * NO_RUN + 1 - head) % (NO_RUN + 1)
        at += head + 2 if head < NO_RUN else 1 + (head > NO_RUN)
    return size


def _grey(pixels: Any, data: Any, stored: Any, how: Intensity) -> FloatImage:
    values = np.asarray(pixels.apply_modality_lut(stored, data), dtype=np.float32)
    if how.mode == "auto" and data.get("VOILUTSequence"):
        lut_bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        shown = pixels.apply_voi(pixels.apply_modality_lut(stored, data), data)
        return _within(np.asarray(shown, dtype=np.float32) / (2**lut_bits - 1))
    if how.mode == "auto" and data.get("WindowWidth") is not None and data.get("WindowCenter") is not None:
        return _window(values, _first(data.WindowCenter), _first(data.WindowWidth), data.get("VOILUTFunction"))
    if "PixelPaddingValue" in data:
        # Padding around the field of view often lies far below every real value and would eat the range.
        values = np.where(stored == data.PixelPaddingValue, np.nan, values)
    return rescale(values, how)


def _window(values: FloatImage, center: float, width: float, function: str | None) -> FloatImage:
    """DICOM PS3.3 C.11.2.1: the three VOI LUT functions, scaled to [0, 1]."""
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp(-4 * (values - center) / width))
    elif function == "LINEAR_EXACT":
        shown = (values - center) / width + 0.5
    else:
        shown = (values - (center - 0.5)) / max(width - 1, 1) + 0.5
    return _within(shown)


def _colour(pixels: Any, data: Any, stored: Any, photometric: str) -> FloatImage:
    if photometric.startswith("PALETTE"):
        bits = int(data.RedPaletteColorLookupTableDescriptor[2])
        return _within(np.asarray(pixels.apply_color_lut(stored, data), dtype=np.float32)[..., :3] / (2**bits - 1))
    # pydicom's pixel_array has already turned YBR into RGB.
    return _within(np.asarray(stored, dtype=np.float32) / (2 ** int(data.BitsStored) - 1))


def _within(values: FloatImage) -> FloatImage:
    """Clipped to [0, 1]; what a senseless table or window leaves undefined is 0."""
    return np.nan_to_num(np.clip(values, 0, 1)).astype(np.float32, copy=False)


def _first(value: Any) -> float:
    """A window may be given several times; the first is the default one."""
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
