# SPDX-License-Identifier: Apache-2.0
"""A table of images as an anomalib dataset whose items may carry support images."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import pandas as pd
import torch
from anomalib import TaskType
from anomalib.data import AnomalibDataset
from anomalib.data.utils import LabelName
from torchvision.transforms.v2 import Compose, InterpolationMode, Resize, Transform
from torchvision.transforms.v2.functional import resize
from torchvision.tv_tensors import Image, Mask

from anomalib_fsad.data.batch import FewShotBatch, FewShotItem
from anomalib_fsad.data.cache import ImageStore
from anomalib_fsad.data.episodes import EpisodeDraw, FixedDraw
from anomalib_fsad.images.decoding import ImageReadError, read_mask

logger = logging.getLogger(__name__)


class Sample(NamedTuple):
    """What of a row of the table makes an item."""

    image_path: str
    label_index: int
    category: str
    mask_path: str


class FewShotDataset(AnomalibDataset):
    """Queries, each with its label, mask, category and, in episodes, K support images.

    An index beyond the length means a later epoch: ``index = epoch * len(self) + row``.

    Args:
        samples: a reader's table.
        store: reads the images.
        task: ``segmentation`` gives every item a mask.
        augmentations: for queries and supports alike.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        store: ImageStore,
        task: TaskType | str = TaskType.CLASSIFICATION,
        augmentations: Transform | None = None,
    ) -> None:
        super().__init__(augmentations=augmentations)
        self.samples = samples
        self.samples.attrs["task"] = TaskType(task).value
        self.store = store
        self.draw: EpisodeDraw | FixedDraw | None = None
        self.replaces_unreadable = False
        self._plain: tuple[pd.DataFrame, list[Sample]] | None = None

    @property
    def paths(self) -> list[str]:
        """The images, in order."""
        return list(self.samples["image_path"])

    @property
    def categories(self) -> list[str]:
        """The category of each image."""
        return list(self.samples["category"])

    @property
    def collate_fn(self) -> Callable:
        """Items -> :class:`FewShotBatch`."""
        return FewShotBatch.collate

    def __iter__(self) -> Iterator[FewShotItem]:
        """One pass; indexing alone never ends, since every index belongs to some epoch."""
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: int) -> FewShotItem:
        """The query at ``index``, and its supports of that epoch.

        Where ``replaces_unreadable`` is set, an image that can be read no more gives its place to the next of its
        category: each process goes through as many batches as it would have, so that none waits for another for ever.
        """
        epoch, row = divmod(int(index), len(self))
        try:
            return self._item(row, epoch)
        except ImageReadError as error:
            if not self.replaces_unreadable:
                raise
            logger.warning("on_error=skip: %s Another image takes its place.", error)
            for other in self._next_of_category(row):
                with suppress(ImageReadError):
                    return self._item(other, epoch)
            raise

    def _next_of_category(self, row: int) -> Iterator[int]:
        """The other rows of a row's category, from it on and round."""
        category, count = self._sample(row).category, len(self)
        others = ((row + step) % count for step in range(1, count))
        return (other for other in others if self._sample(other).category == category)

    def _item(self, row: int, epoch: int) -> FewShotItem:
        sample = self._sample(row)
        image = Image(self.store.read(sample.image_path))
        mask = self._mask(sample, image.shape[-2:])
        if self.augmentations is not None and mask is not None:
            image, mask = self.augmentations(image, mask)
        elif self.augmentations is not None:
            image = self.augmentations(image)
        return FewShotItem(
            image=image,
            gt_mask=mask,
            gt_label=torch.tensor(int(sample.label_index)),
            image_path=self.store.shown_as(sample.image_path),
            mask_path=sample.mask_path if mask is not None else None,
            support=None
            if self.draw is None
            else self._supports(self.draw(sample.image_path, sample.category, epoch), image.shape[-2:]),
            category=sample.category,
        )

    def _sample(self, row: int) -> Sample:
        """A row of the table, as plain data: pandas takes longer to give it than a cached image to read."""
        if self._plain is None or self._plain[0] is not self.samples:
            columns = (self.samples[name].tolist() for name in Sample._fields)
            self._plain = (self.samples, [Sample(*values) for values in zip(*columns, strict=True)])
        return self._plain[1][row]

    def _supports(self, paths: Sequence[str], size: Sequence[int]) -> Image:
        """K x C x H x W."""
        images = [Image(self.store.read(path)) for path in paths]
        if not (self.augmentations is None or isinstance(self.augmentations, Resize)):
            images = [self.augmentations(image) for image in images]
        return Image(torch.stack([_at_size(image, size) for image in images]))

    def _mask(self, sample: Sample, size: Sequence[int]) -> Mask | None:
        if self.task != TaskType.SEGMENTATION:
            return None
        if sample.label_index == LabelName.NORMAL or not sample.mask_path:
            return Mask(torch.zeros(*size, dtype=torch.uint8))
        mask = Mask(torch.from_numpy(read_mask(sample.mask_path)))
        return mask if mask.shape == tuple(size) else Mask(resize(mask[None], list(size), InterpolationMode.NEAREST)[0])


def model_resize(transform: Transform | None) -> Resize | None:
    """The resize step that anomalib made the last of the augmentations: the model's, if it has one."""
    last = transform.transforms[-1] if isinstance(transform, Compose) else transform
    return last if isinstance(last, Resize) else None


def _at_size(image: Image, size: Sequence[int]) -> torch.Tensor:
    return image if image.shape[-2:] == tuple(size) else resize(image, list(size), antialias=True)
