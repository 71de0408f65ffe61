# SPDX-License-Identifier: Apache-2.0
"""MedicalFolder: new images to predict, read as MedicalFewShot reads them."""

from collections.abc import Callable
from pathlib import Path

from anomalib.data import ImageBatch, ImageItem
from torch.utils.data import Dataset
from torchvision.tv_tensors import Image

from anomalib_fsad.data.cache import ImageStore, OnError
from anomalib_fsad.images.decoding import parse_intensity
from anomalib_fsad.images.listing import images_in
from anomalib_fsad.short_errors import ShortErrors


class MedicalFolder(ShortErrors, Dataset[ImageItem]):
    """Images without labels, 8 or 16 bits, float TIFF or DICOM, for ``anomalib predict`` and ``Engine.predict``.

    ``anomalib predict --data FOLDER`` reads images as anomalib does, which cuts deep ones off at 255 and finds no
    DICOM. This reads them as they were read in training::

        anomalib predict --model D24FAD --data MedicalFolder --data.path FOLDER --ckpt_path model.ckpt

    Args:
        path: folder of images, in sub-folders too, or one image.
        intensity: how 16-bit, float and DICOM values become [0, 1]: ``auto``, ``minmax``, ``percentile`` or
            ``window(center,width)``. Use what the model was trained with.
        on_error: what an unreadable image does: ``raise``, or ``skip``, which counts and lists them.
        cache_dir: folder for 8-bit copies of what the visualizer cannot open; by default ``~/.cache/anomalib_fsad``.

    Example:
        >>> import tempfile
        >>> from PIL import Image as PilImage
        >>> folder = tempfile.TemporaryDirectory()
        >>> PilImage.new("I;16", (40, 30), 4095).save(f"{folder.name}/a.png")
        >>> data = MedicalFolder(folder.name, cache_dir=f"{folder.name}/.cache")
        >>> len(data), data[0].image.shape
        (1, torch.Size([3, 30, 40]))
    """

    def __init__(
        self,
        path: str | Path,
        intensity: str = "auto",
        on_error: OnError = "raise",
        cache_dir: str | Path | None = None,
    ) -> None:
        parse_intensity(intensity)
        self.path = Path(path)
        found = [self.path] if self.path.is_file() else images_in(self.path, below=True)
        if not found:
            state = "holds no image (PNG, JPEG, BMP, TIFF or DICOM)" if self.path.is_dir() else "is no file or folder"
            msg = f"path={str(path)!r} {state}: pass --data.path FOLDER with the images to predict."
            raise FileNotFoundError(msg)
        self.store = ImageStore("none", 0, cache_dir, intensity)
        self.paths = [str(file) for file in found]
        if on_error == "skip":
            bad = self.store.skipped(self.paths)
            self.paths = [file for file in self.paths if file not in bad]
        else:
            self.store.check(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> ImageItem:
        """One image, and the file in which an 8-bit viewer sees it."""
        path = self.paths[index]
        return ImageItem(image=Image(self.store.read(path)), image_path=self.store.shown_as(path))

    @property
    def collate_fn(self) -> Callable:
        """Items -> anomalib's batch."""
        return ImageBatch.collate
