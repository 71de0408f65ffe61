# SPDX-License-Identifier: Apache-2.0
"""What a user may hand over as images -> RGB floats in [0, 1], H x W x 3, read as the datamodule reads them."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageOps

from anomalib_fsad.images.decoding import (
    EIGHT_BIT_MODES,
    FloatImage,
    grey_to_rgb,
    parse_intensity,
    read_rgb,
    rescale,
    to_uint8,
)
from anomalib_fsad.images.listing import images_in

Image: TypeAlias = str | Path | NDArray[Any] | PilImage.Image
Images: TypeAlias = Sequence[Image] | NDArray[Any]

RGB = 3
RGBA = 4
BATCH_DIMENSIONS = 4

PICTURE_SIDE = 112
"""Pixels along the longer side of the pictures that an enrolment keeps."""


class Named(NamedTuple):
    """An image and what to call it."""

    name: str
    pixels: FloatImage


def is_batch(images: Image | Images) -> bool:
    """Whether these are several images."""
    if isinstance(images, np.ndarray):
        return images.ndim == BATCH_DIMENSIONS
    return isinstance(images, Sequence) and not isinstance(images, str)


def images_at(source: Path) -> list[Path]:
    """A file, or the image files in and below a folder, sorted; hidden files are left out."""
    if not source.exists():
        msg = f"{str(source)!r} does not exist: give an image or a folder of images."
        raise FileNotFoundError(msg)
    paths = [source] if source.is_file() else images_in(source, below=True)
    if not paths:
        msg = f"The folder {str(source)!r} holds no images."
        raise ValueError(msg)
    return paths


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a file of a folder is elsewhere in truth, by a symbolic link: what lies there was not handed over."""
    return not path.resolve().is_relative_to(folder.resolve())


def refuse_links(paths: Sequence[Path], folder: Path) -> None:
    """Raise ``ValueError`` at a file that lies elsewhere."""
    for path in paths:
        if folder.is_dir() and leads_out(path, folder):
            msg = f"{str(path)!r} is a symbolic link that leads out of {str(folder)!r}: put the image itself there."
            raise ValueError(msg)


def image_list(images: Image | Images) -> list[Any]:
    """The images one by one; one image is a list of one."""
    return list(cast("Sequence[Image]", images)) if is_batch(images) else [images]


def named_images(images: Image | Images, intensity: str) -> Iterator[Named]:
    """Read one image or several, one after another; those given as arrays are called by their place."""
    for place, image in enumerate(image_list(images)):
        yield Named(str(image) if isinstance(image, str | Path) else f"[{place}]", to_rgb(image, intensity))


def to_rgb(image: Any, intensity: str = "auto") -> FloatImage:
    """One image as H x W x 3 in [0, 1].

    Args:
        image: a path; a Pillow image; or an array, H x W or H x W x 1, 3 or 4: bytes, floats in [0, 1], or deeper
            integers, which are mapped by ``intensity`` as those of a file are.
        intensity: see :mod:`anomalib_fsad.images.decoding`.

    Example:
        >>> import numpy as np
        >>> to_rgb(np.full((4, 5), 255, dtype=np.uint8)).shape
        (4, 5, 3)
    """
    if isinstance(image, str | Path):
        return read_rgb(image, intensity)
    if isinstance(image, PilImage.Image):
        upright = ImageOps.exif_transpose(image)
        if upright.mode in EIGHT_BIT_MODES:
            return _from_bytes(np.asarray(upright.convert("RGB")))
        return grey_to_rgb(rescale(np.asarray(upright, dtype=np.float32), parse_intensity(intensity)))
    if isinstance(image, np.ndarray):
        return _array_to_rgb(image, intensity)
    msg = f"An image is a path, an array or a Pillow image, not a {type(image).__name__}."
    raise TypeError(msg)


def small_picture(pixels: FloatImage, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A small picture of an image, at the proportions that a model sees it in."""
    scale = PICTURE_SIDE / max(shape)
    height, width = (max(1, round(side * scale)) for side in shape)
    image = PilImage.fromarray(to_uint8(pixels))
    return np.asarray(image.resize((width, height), PilImage.Resampling.LANCZOS, reducing_gap=2.0))


def refuse_copies(images: Iterable[Named]) -> Iterator[Named]:
    """The images; ``ValueError`` at one that is there twice: a leave-one-out threshold would come out too low."""
    seen: dict[bytes, str] = {}
    for name, pixels in images:
        content = sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()
        if content in seen:
            msg = (
                f"{seen[content]!r} and {name!r} are the same image. Its copy makes it look more normal than any new "
                "image can, and the threshold too low: remove one, or keep the checkpoint's threshold (--target-fpr "
                "none)."
            )
            raise ValueError(msg)
        seen[content] = name
        yield Named(name, pixels)


def _array_to_rgb(array: NDArray[Any], intensity: str) -> FloatImage:
    grey = array.ndim == 2 or (array.ndim == RGB and array.shape[2] == 1)  # noqa: PLR2004
    if (not grey and not (array.ndim == RGB and array.shape[2] in {RGB, RGBA})) or 0 in array.shape:
        msg = f"An image array is H x W or H x W x 1, 3 or 4 (channels last), not {' x '.join(map(str, array.shape))}."
        raise ValueError(msg)
    values: FloatImage
    if array.dtype == np.uint8:
        values = _from_bytes(array)
    elif array.dtype == np.bool_:
        values = array.astype(np.float32)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            msg = "An image array of floats holds values in [0, 1]; pass others as integers, or rescale them."
            raise ValueError(msg)
        values = array.astype(np.float32)
    elif np.issubdtype(array.dtype, np.integer):
        values = rescale(array.astype(np.float32), parse_intensity(intensity))
    else:
        msg = f"An image array holds numbers, not {array.dtype}."
        raise TypeError(msg)
    return grey_to_rgb(values.reshape(values.shape[:2])) if grey else values[..., :RGB]


def _from_bytes(array: NDArray[np.uint8]) -> FloatImage:
    return np.asarray(array, dtype=np.float32) / np.float32(255)
