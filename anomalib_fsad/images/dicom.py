# SPDX-License-Identifier: Apache-2.0
"""DICOM -> RGB floats in [0, 1], by pydicom, which is imported on first use."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from anomalib_fsad.images.decoding import FloatImage, Header, ImageReadError, Intensity, grey_to_rgb, rescale

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
        data = pydicom.dcmread(path, force=False)
        _refuse_frames(data, path)
        stored = data.pixel_array
        photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
        if photometric.startswith(COLOUR):
            return _colour(pixels, data, stored, photometric)
        grey = _grey(pixels, data, stored, how)
    return grey_to_rgb(1 - grey if photometric == "MONOCHROME1" else grey)


def read_dicom_header(path: str | Path) -> Header:
    """Size of a single-frame DICOM image, without its pixels."""
    with _reading(path) as pydicom:
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


def _grey(pixels: Any, data: Any, stored: Any, how: Intensity) -> FloatImage:
    values = np.asarray(pixels.apply_modality_lut(stored, data), dtype=np.float32)
    if how.mode == "auto" and data.get("VOILUTSequence"):
        lut_bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        shown = pixels.apply_voi(pixels.apply_modality_lut(stored, data), data)
        return np.clip(np.asarray(shown, dtype=np.float32) / (2**lut_bits - 1), 0, 1)
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
    return np.clip(shown, 0, 1).astype(np.float32)


def _colour(pixels: Any, data: Any, stored: Any, photometric: str) -> FloatImage:
    if photometric.startswith("PALETTE"):
        bits = int(data.RedPaletteColorLookupTableDescriptor[2])
        return np.asarray(pixels.apply_color_lut(stored, data), dtype=np.float32)[..., :3] / (2**bits - 1)
    # pydicom's pixel_array has already turned YBR into RGB.
    return np.asarray(stored, dtype=np.float32) / (2 ** int(data.BitsStored) - 1)


def _first(value: Any) -> float:
    """A window may be given several times; the first is the default one."""
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
