# SPDX-License-Identifier: Apache-2.0
"""DICOM -> RGB floats in [0, 1], by pydicom, which is imported on first use."""

import re
import struct
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
from anomalib_fsad.images.deflated import refuse_deflated_bomb
from anomalib_fsad.images.frames import fits, frame_count
from anomalib_fsad.images.slices import slice_at

RUN_LENGTHS = "1.2.840.10008.1.2.5"
"""The transfer syntax of frames of run lengths."""

JPEG_START, JPEG_MARKER = b"\xff\xd8", 0xFF
JPEG_SIZES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Markers of the headers that tell an image's size: of all processes of JPEG, and of JPEG-LS."""

NO_RUN = 128
"""The head byte that stands for nothing."""

HEADER_BYTES = 1 << 22
"""More than what stands in a file before its pixels."""

COLOUR = ("RGB", "YBR", "PALETTE")


def read_dicom(path: str | Path, how: Intensity) -> FloatImage:
    """Read one DICOM image: rescale slope and intercept, VOI LUT or window, MONOCHROME1 inverted.

    Nothing that tells who the patient is is looked at, so that no message can repeat it.

    Args:
        path: the file, or one of its frames (``cine.dcm/3``).
        how: ``auto`` follows the file's own VOI LUT or window; the rest replaces it.

    Returns:
        H x W x 3, values in [0, 1].
    """
    file, frame = slice_at(path)
    with _reading(path) as pydicom:
        pixels = import_module("pydicom.pixels")
        refuse_deflated_bomb(pydicom, file, path)
        data = pydicom.dcmread(file, force=False, stop_before_pixels=True)
        _refuse_frames(data, path)
        refuse_large(path, int(data.Columns), int(data.Rows))
        syntax = data.file_meta.TransferSyntaxUID
        if frame is None or syntax.is_encapsulated or syntax.is_deflated:
            data = pydicom.dcmread(file, force=False)
            _refuse_without_decoder(pixels, data, path)
            _refuse_other_size(data, frame or 1, path)
            stored = pixels.pixel_array(data, index=(frame or 1) - 1, decoding_plugin=_decoder_of(pixels, syntax))
        else:
            # Of a large file, one frame alone is read.
            stored = pixels.pixel_array(file, index=frame - 1)
        _take_in_groups(data, frame or 1)
        photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
        coloured = photometric.startswith(COLOUR)
        if stored.shape != (data.Rows, data.Columns, *((3,) if coloured and "PALETTE" not in photometric else ())):
            raise ImageReadError(path, f"its pixels are {stored.shape}, which is no {photometric} image.")
        if coloured:
            return _colour(pixels, data, stored, photometric)
        grey = _grey(pixels, data, stored, how)
    return grey_to_rgb(1 - grey if photometric == "MONOCHROME1" else grey)


def read_dicom_header(path: str | Path) -> Header:
    """Size of a DICOM image or of one of its frames, without its pixels."""
    file = slice_at(path).file
    with _reading(path) as pydicom:
        refuse_deflated_bomb(pydicom, file, path)
        data = pydicom.dcmread(file, force=False, stop_before_pixels=True)
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
        # A check warns of what is unusual in a header, repeats it, a patient's name as well, and reads it all the same.
        with import_module("pydicom.config").disable_value_validation():
            yield pydicom
    except ImageReadError:
        raise
    except Exception as error:
        file = slice_at(path).file
        empty = file.is_file() and file.stat().st_size == 0
        reason = "the file is empty (0 bytes)." if empty else f"pydicom could not decode it ({_discreet(error, file)})."
        raise ImageReadError(path, reason if file.is_file() else "there is no such file.") from error


def _discreet(error: Exception, file: Path) -> str:
    """An error's words, without those that stand in the file: pydicom may repeat what it stumbled over, a name say."""
    content = b""
    if file.is_file():
        with file.open("rb") as opened:
            content = opened.read(HEADER_BYTES)
    return re.sub(r"[^\W_]{3,}", lambda word: "..." if word[0].encode() in content else word[0], str(error))


def _refuse_frames(data: Any, path: str | Path) -> None:
    """Refuse a file of several frames, of which none is named, and a frame that it has not."""
    file, frame = slice_at(path)
    count = frame_count(data)
    if count > 1 and frame is None:
        name = f"{file.name}/1 to {file.name}/{count}"
        raise ImageReadError(path, f"it holds {count} frames: give the folder it lies in, or name one, {name}.")
    if frame is not None and not 1 <= frame <= count:
        raise ImageReadError(path, f"the file has {count} frames, and no frame {frame}.")
    if count > 1 and not fits(file, data, count):
        raise ImageReadError(path, f"it says that it holds {count} frames, more than a file of its size can.")


def _refuse_without_decoder(pixels: Any, data: Any, path: str | Path) -> None:
    """Say which extra brings the decoder of a compressed file."""
    syntax = data.file_meta.TransferSyntaxUID
    decoder = pixels.get_decoder(syntax) if syntax.is_encapsulated else None
    if decoder is not None and not decoder.is_available and "gdcm" in " ".join(decoder.missing_dependencies):
        reason = f"it is compressed as {syntax.name}. To read that: pip install 'anomalib-fsad[dicom-compressed]'."
        raise ImageReadError(path, reason)


def _decoder_of(pixels: Any, syntax: Any) -> str:
    """Pillow wherever it can: GDCM, which pydicom would fall back to, ends the whole process at some broken files."""
    plugins = pixels.get_decoder(syntax).available_plugins if syntax.is_encapsulated else ()
    return "pillow" if "pillow" in plugins else ""


def _take_in_groups(data: Any, frame: int) -> None:
    """Put what an enhanced file says of a frame where other files have it: slope, intercept and window."""
    each = data.get("PerFrameFunctionalGroupsSequence") or []
    shared = data.get("SharedFunctionalGroupsSequence") or []
    for group in (*shared, *each[frame - 1 : frame]):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name) or []:
                data.update({element.tag: element for element in item})


def _refuse_other_size(data: Any, number: int, path: str | Path) -> None:
    """Refuse a compressed frame of another size than the file says: it may be a bomb."""
    if not data.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    extended = None
    if "ExtendedOffsetTable" in data:
        extended = (data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths)
    get_frame = import_module("pydicom.encaps").get_frame
    frame = get_frame(data.PixelData, number - 1, number_of_frames=frame_count(data), extended_offsets=extended)
    if data.file_meta.TransferSyntaxUID == RUN_LENGTHS:
        _refuse_long_runs(frame, int(data.Columns) * int(data.Rows), path)
        return
    size = _jpeg_size(frame) if frame.startswith(JPEG_START) else _jpeg2000_size(frame)
    if size not in {None, (data.Columns, data.Rows)}:
        reason = f"it says {data.Columns} x {data.Rows} pixels, but its compressed frame has {size[0]} x {size[1]}."
        raise ImageReadError(path, reason)


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height by the header of a JPEG, lossless and JPEG-LS among them; ``None`` if it has none."""
    at = len(JPEG_START)
    while at + 9 <= len(frame) and frame[at] == JPEG_MARKER:
        if frame[at + 1] in JPEG_SIZES:
            height, width = struct.unpack_from(">HH", frame, at + 5)
            return width, height
        at += 1 if frame[at + 1] == JPEG_MARKER else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(BytesIO(frame), formats=("JPEG2000",)) as picture:
            return picture.size
    except Image.UnidentifiedImageError:
        return None


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
