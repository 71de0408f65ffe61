# SPDX-License-Identifier: Apache-2.0
"""Any medical image file -> RGB floats in [0, 1].

Needs NumPy and Pillow only (pydicom for DICOM), because the deployment package, which has no torch, reads images too.

8-bit pictures are taken as they are, since somebody already chose their window. Everything deeper (16-bit and float
PNG or TIFF, DICOM) is mapped to [0, 1] by ``intensity``:

- ``auto``: DICOM by its own VOI LUT or window if it has one, everything else by ``minmax``;
- ``minmax``: the lowest value of the image becomes 0, the highest 1;
- ``percentile``: the same from the 0.5th to the 99.5th percentile, so that single hot pixels do not darken the rest;
- ``window(center,width)``: a fixed window, in Hounsfield units for CT, e.g. ``window(40,80)`` for brain.

Pillow reduces 16-bit *colour* files to 8 bits while opening them; 16-bit grey is read in full.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from anomalib_fsad.images.slices import slice_at

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom"})

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF")
"""What Pillow may take a file for, whatever its name: not PostScript, for one, which it hands to another program."""

MAX_PIXELS = 40_000_000
"""What one image may have, a mammogram at 50 micrometres for one; decoding it takes less than 1 GiB. A file of a few
kilobytes can claim thousands of times as many, so its header is asked first."""

LARGEST_SPAN = 1e37
"""Differences beyond it do not fit single precision."""

PERCENTILES = (0.5, 99.5)

EXIF_ORIENTATION = 0x0112

EIGHT_BIT_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
)

FloatImage = NDArray[np.float32]


class ImageReadError(ValueError):
    """A file that is no readable image; the message names it."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"Cannot read image {str(path)!r}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Survive the way back from a loader's worker process."""
        return type(self), (self.path, self.reason)


class Header(NamedTuple):
    """What the beginning of an image file says, without its pixels."""

    width: int
    height: int
    mode: str
    """Pillow's mode, such as ``L``, ``RGB`` or ``I;16``; ``DICOM`` for DICOM."""


class Intensity(NamedTuple):
    """How values beyond 8 bits become [0, 1]; see :func:`parse_intensity`."""

    mode: str
    center: float = 0.0
    width: float = 1.0


def parse_intensity(text: str) -> Intensity:
    """Understand the ``intensity`` option.

    Example:
        >>> parse_intensity("window(40, 80)")
        Intensity(mode='window', center=40.0, width=80.0)
    """
    if text in {"auto", "minmax", "percentile"}:
        return Intensity(text)
    number = r"\s*([-+]?\d+(?:\.\d+)?)\s*"
    match = re.fullmatch(rf"window\({number},{number}\)", text.strip())
    if match is None or float(match[2]) <= 0:
        msg = (
            f"intensity={text!r} is none of 'auto', 'minmax', 'percentile' and 'window(center,width)' with a width "
            "above 0, e.g. 'window(40,80)'."
        )
        raise ValueError(msg)
    return Intensity("window", float(match[1]), float(match[2]))


def read_rgb(path: str | Path, intensity: str = "auto") -> FloatImage:
    """Read one image.

    Args:
        path: PNG, JPEG, BMP, TIFF or DICOM file, or a frame of a DICOM file (``cine.dcm/3``).
        intensity: ``auto``, ``minmax``, ``percentile`` or ``window(center,width)``.

    Returns:
        H x W x 3, values in [0, 1].

    Raises:
        ImageReadError: The file is missing, empty, truncated, of several frames, or no image.
    """
    how = parse_intensity(intensity)
    if is_dicom(path):
        from anomalib_fsad.images.dicom import read_dicom

        return read_dicom(path, how)
    with _opened(path) as image:
        _refuse_pages(image, path)
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in EIGHT_BIT_MODES:
            values = np.asarray(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.float32)
            values /= np.float32(255)
            return values
        return grey_to_rgb(rescale(np.asarray(image, dtype=np.float32), how))


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """0 or 1 for each pixel of a ground-truth mask, H x W: all that is not 0, be it 1, a class or 255.

    JPEG leaves grey around what it draws, so there it is all above half of the largest value.
    """
    with _opened(path) as image:
        grey = np.asarray(image if image.mode == "P" else image.convert("L"))
        least = grey.max() / 2 if image.format in {"JPEG", "MPO"} else 0
    return (grey > least).astype(np.uint8)


def read_header(path: str | Path) -> Header:
    """Size and mode of one image, from its header alone, which takes a fraction of a millisecond.

    Raises:
        ImageReadError: The file is missing, empty, of several frames, or no image; damage further on is not seen.
    """
    if is_dicom(path):
        from anomalib_fsad.images.dicom import read_dicom_header

        return read_dicom_header(path)
    with _opened(path) as image:
        _refuse_pages(image, path)
        return Header(*image.size, image.mode)


def needs_own_reader(path: str | Path) -> str | None:
    """Why anomalib's own way of reading an image would change or miss its values; ``None`` if it would not.

    Only the header is looked at; what cannot be opened at all is left to whoever reads it.

    Example:
        >>> needs_own_reader("slice.dcm")
        'it is DICOM'
    """
    if is_dicom(path):
        return "it is DICOM"
    try:
        with _opened(path) as image:
            mode = image.mode
    except ImageReadError:
        return None
    return (
        None if mode in EIGHT_BIT_MODES else f"it is deeper than 8 bits (mode {mode}), which anomalib cuts off at 255"
    )


def rescale(values: NDArray[np.floating], how: Intensity) -> FloatImage:
    """Map H x W values to [0, 1]; what is not finite becomes 0."""
    finite = np.isfinite(values)
    if how.mode == "window":
        low, high = how.center - how.width / 2, how.center + how.width / 2
    elif not finite.any():
        low, high = 0.0, 1.0
    elif how.mode == "percentile":
        low, high = np.percentile(values[finite], PERCENTILES)
    else:
        low, high = values[finite].min(), values[finite].max()
    span = max(float(high) - float(low), 1e-12)
    shown = np.where(finite, values, low)
    if span > LARGEST_SPAN:
        shown = shown.astype(np.float64)
    # In place: an image may be large.
    shown -= low
    shown /= span
    return np.clip(shown, 0, 1, out=shown).astype(np.float32, copy=False)


def grey_to_rgb(grey: FloatImage) -> FloatImage:
    """H x W -> H x W x 3."""
    return np.repeat(grey[..., None], 3, axis=2)


def to_uint8(image: FloatImage) -> NDArray[np.uint8]:
    """[0, 1] -> 0..255, rounded."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def is_dicom(path: str | Path) -> bool:
    """Whether the file is DICOM, by its suffix or, where it has none, by its preamble."""
    path = slice_at(path).file
    suffix = path.suffix.lower()
    if suffix in {".dcm", ".dicom"}:
        return True
    if suffix in IMAGE_SUFFIXES or not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def is_displayable(path: str | Path) -> bool:
    """Whether a plain ``PIL.Image.open(path).convert("RGB")`` shows what :func:`read_rgb` returns."""
    if is_dicom(path):
        return False
    with _opened(path) as image:
        return image.mode in EIGHT_BIT_MODES and image.getexif().get(EXIF_ORIENTATION, 1) == 1


def refuse_large(path: str | Path, width: int, height: int) -> None:
    """Raise :class:`ImageReadError` for an image of more than ``MAX_PIXELS``."""
    if width * height > MAX_PIXELS:
        reason = (
            f"it has {width} x {height} pixels, and an image may have {MAX_PIXELS:,} at most. Scale it down, or cut it "
            "into tiles."
        )
        raise ImageReadError(path, reason)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """An image whose pixels are not read yet; whatever goes wrong with it names the file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            refuse_large(path, *image.size)
            yield image
    except ImageReadError:
        raise
    except Exception as error:
        raise ImageReadError(path, _why(path, error)) from error


def _refuse_pages(image: Image.Image, path: str | Path) -> None:
    """Raise :class:`ImageReadError` for a TIFF of several pages."""
    if image.format != "TIFF":
        return
    # Not all pages are counted: there may be millions.
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return
    raise ImageReadError(path, "it holds several pages. Save each page as a file of its own.")


def _why(path: str | Path, error: Exception) -> str:
    file = Path(path)
    if not file.is_file():
        return "there is no such file."
    if file.stat().st_size == 0:
        return "the file is empty (0 bytes)."
    if isinstance(error, Image.DecompressionBombError):
        return f"it claims more than the {MAX_PIXELS:,} pixels that an image may have."
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no PNG, JPEG, BMP, TIFF or DICOM image, or its beginning is damaged."
    return f"it is damaged or truncated ({error})."
