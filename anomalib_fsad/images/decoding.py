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
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from anomalib_fsad.images.slices import slice_at

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom"})

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF")
"""What Pillow may take a file for, whatever its name: not PostScript, for one, which it hands to another program."""

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
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_pages(image, path)
            upright = ImageOps.exif_transpose(image)
            if upright.mode in EIGHT_BIT_MODES:
                return np.asarray(upright.convert("RGB"), dtype=np.float32) / np.float32(255)
            values = np.asarray(upright, dtype=np.float32)
    except ImageReadError:
        raise
    except Exception as error:
        raise ImageReadError(path, _why(path, error)) from error
    return grey_to_rgb(rescale(values, how))


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """0 or 1 for each pixel of a ground-truth mask, H x W: all that is not 0, be it 1, a class or 255.

    JPEG leaves grey around what it draws, so there it is all above half of the largest value.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            grey = np.asarray(image if image.mode == "P" else image.convert("L"))
            least = grey.max() / 2 if image.format in {"JPEG", "MPO"} else 0
    except Exception as error:
        raise ImageReadError(path, _why(path, error)) from error
    return (grey > least).astype(np.uint8)


def read_header(path: str | Path) -> Header:
    """Size and mode of one image, from its header alone, which takes a fraction of a millisecond.

    Raises:
        ImageReadError: The file is missing, empty, of several frames, or no image; damage further on is not seen.
    """
    if is_dicom(path):
        from anomalib_fsad.images.dicom import read_dicom_header

        return read_dicom_header(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_pages(image, path)
            return Header(*image.size, image.mode)
    except ImageReadError:
        raise
    except Exception as error:
        raise ImageReadError(path, _why(path, error)) from error


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
        with Image.open(path, formats=FORMATS) as image:
            mode = image.mode
    except (OSError, ValueError, SyntaxError):
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
    return np.clip((np.where(finite, values, low) - low) / span, 0, 1).astype(np.float32)


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
    with Image.open(path, formats=FORMATS) as image:
        return image.mode in EIGHT_BIT_MODES and image.getexif().get(EXIF_ORIENTATION, 1) == 1


def _refuse_pages(image: Image.Image, path: str | Path) -> None:
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages > 1:
        raise ImageReadError(path, f"it holds {pages} pages. Save each page as a file of its own.")


def _why(path: str | Path, error: Exception) -> str:
    file = Path(path)
    if not file.is_file():
        return "there is no such file."
    if file.stat().st_size == 0:
        return "the file is empty (0 bytes)."
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no PNG, JPEG, BMP, TIFF or DICOM image, or its beginning is damaged."
    return f"it is damaged or truncated ({error})."
