# SPDX-License-Identifier: Apache-2.0
"""Reading images for training without decoding them again each epoch, and for the visualizer at all."""

import contextlib
import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from torch import Tensor
from torchvision.transforms.v2 import Resize

from anomalib_fsad.cache_folder import cache_folder, write_whole
from anomalib_fsad.data.unreadable import failures, raise_unreadable
from anomalib_fsad.files import shortened, sweep
from anomalib_fsad.images.decoding import ImageReadError, is_displayable, read_mask, read_rgb, to_uint8

logger = logging.getLogger(__name__)

CacheMode = Literal["ram", "disk", "none"]
OnError = Literal["raise", "skip"]

GIB = 2**30

T = TypeVar("T")

DIGEST_BYTES = 16


class ImageStore:
    """Reads images by path; what :meth:`fill` was given comes resized and decoded, 8 bits a channel.

    Images that are tested are never rounded: they are decoded to floats at each use. Files are found again by the
    content of the image, whatever its name and time stamp, and compared with a checksum once a run.

    Args:
        mode: ``ram`` keeps the pixels in memory, ``disk`` in files below ``folder``, ``none`` decodes at each use.
        budget: bytes of memory for ``ram``; what does not fit is decoded at each use.
        folder: for ``disk`` and for the converted copies; by default :func:`~anomalib_fsad.cache_folder.cache_folder`.
        intensity: see :mod:`anomalib_fsad.images.decoding`.
    """

    def __init__(self, mode: CacheMode, budget: int, folder: str | Path | None, intensity: str) -> None:
        self.mode = mode
        self.budget = budget
        self.folder = cache_folder() if folder is None else Path(folder)
        self.intensity = intensity
        self.resize: Resize | None = None
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._used = 0
        self._files: dict[str, Path] = {}
        self._checked: set[str] = set()
        self._copies: dict[str, str] = {}

    def __deepcopy__(self, memo: dict) -> "ImageStore":
        """One store serves every copy and part of a dataset."""
        del memo
        return self

    def read(self, path: str) -> Tensor:
        """One image, C x H x W in [0, 1]."""
        pixels = self._pixels.get(path)
        if pixels is None and path in self._files:
            pixels = np.load(self._files[path])
        if pixels is None:
            return _to_tensor(read_rgb(path, self.intensity))
        return torch.from_numpy(pixels).float().div_(255)

    def shown_as(self, path: str) -> str:
        """The file in which an 8-bit viewer sees what :meth:`read` returns: the image itself or its copy."""
        return self._copies.get(path, path)

    def resize_to(self, resize: Resize | None) -> None:
        """Cache at the size of this transform from now on; what was cached at another size is dropped."""
        if _size(resize) != _size(self.resize):
            self._pixels.clear()
            self._files.clear()
            self._used = 0
        self.resize = resize

    def fill(self, paths: Sequence[str]) -> None:
        """Decode each image once and keep it; unreadable ones raise, all named in one message."""
        missing = [p for p in dict.fromkeys(paths) if p not in self._pixels and p not in self._files]
        if self.mode == "none":
            self.check(missing)
            return
        raise_unreadable(failures(self._keep, missing, "Caching training images"))
        for folder in {self._files[path].parent for path in missing if path in self._files}:
            with contextlib.suppress(OSError):  # one that is read only
                sweep(folder)
        if self.mode == "ram" and missing:
            kept, wanted = len(self._pixels), len(set(paths))
            if kept < wanted:
                logger.warning(
                    "%d of %d training images fit into the image cache of %g GiB; the others are decoded at each use. "
                    "Raise --data.cache_gib, or pass --data.cache disk.",
                    *(kept, wanted, self.budget / GIB),
                )

    def check(self, paths: Iterable[str], masks: Iterable[str] = ()) -> None:
        """Decode each image and mask once to see that it can be; unreadable ones raise, named in one message."""
        raise_unreadable(self.unreadable(paths, masks))

    def unreadable(self, paths: Iterable[str], masks: Iterable[str] = ()) -> list[ImageReadError]:
        """Decode each image and mask once, make the copies that a viewer needs, and return what failed."""
        new_images, new_masks = (
            [p for p in dict.fromkeys(given) if p and p not in self._checked] for given in (paths, masks)
        )
        errors = failures(self._check, new_images, "Checking images")
        return errors + failures(self._check_mask, new_masks, "Checking masks")

    def skipped(self, paths: Iterable[str], masks: Iterable[str] = ()) -> set[str]:
        """The images and masks that cannot be read, each named in the log."""
        paths = list(paths)
        errors = self.unreadable(paths, masks)
        if errors:
            logger.warning("on_error=skip: %d of %d images are left out:", len(errors), len(paths))
        for error in errors:
            logger.warning("%s", error)
        return {error.path for error in errors}

    def _keep(self, path: str) -> None:
        file = self._file(path, "resized", ".npy") if self.mode == "disk" else None
        if file is None or not _is_intact(file):
            image = _to_tensor(read_rgb(path, self.intensity))
            image = self.resize(image) if self.resize is not None else image
            pixels = to_uint8(image.numpy())
            if file is not None:
                _write(file, _npy(pixels))
            elif self._used + pixels.nbytes <= self.budget:
                self._used += pixels.nbytes
                self._pixels[path] = pixels
        if file is not None:
            self._files[path] = file
        self._checked.add(path)

    def _check(self, path: str) -> None:
        image = read_rgb(path, self.intensity)
        if not is_displayable(path):
            copy = self._file(path, "shown", ".png")
            if not copy.is_file():
                shown = io.BytesIO()
                PilImage.fromarray(to_uint8(image)).save(shown, format="PNG")
                _write(copy, shown.getvalue())
            self._copies[path] = str(copy)
        self._checked.add(path)

    def _check_mask(self, path: str) -> None:
        read_mask(path)
        self._checked.add(path)

    def _file(self, path: str, kind: str, suffix: str) -> Path:
        """Where something made of this image is kept: named by all it depends on."""
        try:
            with Path(path).open("rb") as image:
                content = hashlib.file_digest(image, "sha256").hexdigest()
        except OSError as error:
            reason = "there is no such file." if isinstance(error, FileNotFoundError) else f"{error.strerror}."
            raise ImageReadError(path, reason) from error
        size = _size(self.resize) if kind == "resized" else None
        digest = hashlib.sha256(f"{content}|{self.intensity}|{size}".encode()).hexdigest()[:32]
        # The last two names are kept, so that pictures in the results can be told apart.
        name = shortened(Path(path).stem, f"_{digest}{suffix}")
        return self.folder / kind / digest[:2] / Path(path).parent.name / name


def _to_tensor(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _size(resize: Resize | None) -> str:
    return "native" if resize is None else f"{list(resize.size or [])} {resize.interpolation} {resize.antialias}"


def _npy(pixels: NDArray[np.uint8]) -> bytes:
    """As ``np.save`` writes it, and a checksum behind it, which ``np.load`` does not look at."""
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    return file.getvalue() + _checksum(file.getvalue())


def _is_intact(file: Path) -> bool:
    """Whether a file is there and holds what was written."""
    try:
        content = file.read_bytes()
    except OSError:  # not there, or not to be read: whether it can be written is seen then
        return False
    return content[-DIGEST_BYTES:] == _checksum(content[:-DIGEST_BYTES])


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _write(file: Path, content: bytes) -> None:
    """Write a file that no other process ever sees half of."""
    try:
        write_whole(file, lambda draft: draft.write_bytes(content))
    except OSError as error:
        msg = (
            f"cache_dir: {str(file.parent)!r} cannot be written ({error.strerror}). Pass another folder as "
            "--data.cache_dir, or --data.cache ram."
        )
        raise OSError(msg) from error
