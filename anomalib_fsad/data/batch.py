# SPDX-License-Identifier: Apache-2.0
"""anomalib's image item and batch with two more optional fields: support images and the category.

``support`` holds K normal images of the query's own category, in [0, 1] and of the query's size, *not* normalised:
anomalib's pre-processor transforms ``image`` only, so a model that reads ``support`` passes it through
``self.pre_processor.transform`` itself. Models that know nothing of it simply never look.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch
from anomalib.data import ImageBatch, ImageItem, NumpyImageBatch, NumpyImageItem
from anomalib.data.dataclasses.generic import FieldDescriptor
from torch import Tensor
from torchvision.tv_tensors import Image

CHANNELS = 3


@dataclass
class NumpyFewShotItem(NumpyImageItem):
    """:class:`FewShotItem` as NumPy arrays."""

    support: np.ndarray | None = None
    category: str | None = None


@dataclass
class NumpyFewShotBatch(NumpyImageBatch):
    """:class:`FewShotBatch` as NumPy arrays."""

    item_class: ClassVar[type[NumpyFewShotItem]] = NumpyFewShotItem  # type: ignore[assignment]

    support: np.ndarray | None = None
    category: list[str] | None = None


@dataclass
class SupportFields:
    """The two fields, validated whenever they are set, as anomalib does it."""

    support: FieldDescriptor[Tensor | None] = FieldDescriptor(validator_name="validate_support")  # noqa: RUF009
    category: FieldDescriptor[str | list[str] | None] = FieldDescriptor(  # noqa: RUF009
        validator_name="validate_category",
    )


@dataclass
class FewShotItem(SupportFields, ImageItem):
    """One query.

    Args:
        support: K x C x H x W, normal images of the same category, or ``None``.
        category: name of the category, or ``None``.

    Example:
        >>> import torch
        >>> item = FewShotItem(image=torch.rand(3, 8, 8), support=torch.rand(2, 3, 8, 8), category="fundus")
        >>> item.support.shape
        torch.Size([2, 3, 8, 8])
    """

    numpy_class: ClassVar[type[NumpyFewShotItem]] = NumpyFewShotItem  # type: ignore[assignment]

    @staticmethod
    def validate_support(support: Tensor | None) -> Image | None:
        """Accept K x 3 x H x W."""
        return _validated_support(support, "K x 3 x H x W")

    @staticmethod
    def validate_category(category: str | None) -> str | None:
        """Accept a name."""
        return None if category is None else str(category)


@dataclass
class FewShotBatch(SupportFields, ImageBatch):
    """Queries with their supports; collates, moves, pins and converts like any anomalib batch.

    Args:
        support: B x K x C x H x W, or ``None`` (at test time, and outside episodes).
        category: B names, or ``None``.

    Example:
        >>> import torch
        >>> item = FewShotItem(image=torch.rand(3, 8, 8), support=torch.rand(2, 3, 8, 8), category="fundus")
        >>> batch = FewShotBatch.collate([item, item])
        >>> batch.support.shape, batch.category
        (torch.Size([2, 2, 3, 8, 8]), ['fundus', 'fundus'])
    """

    item_class: ClassVar[type[FewShotItem]] = FewShotItem  # type: ignore[assignment]
    numpy_class: ClassVar[type[NumpyFewShotBatch]] = NumpyFewShotBatch  # type: ignore[assignment]

    @staticmethod
    def validate_support(support: Tensor | None) -> Image | None:
        """Accept B x K x 3 x H x W."""
        return _validated_support(support, "B x K x 3 x H x W")

    @staticmethod
    def validate_category(category: list[str] | None) -> list[str] | None:
        """Accept a list of names."""
        return None if category is None else [str(name) for name in category]

    def pin_memory(self, device: Any = None) -> "FewShotBatch":
        """Copy every tensor to page-locked memory; ``DataLoader(pin_memory=True)`` calls this."""
        del device
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        pinned: Any = {name: v.pin_memory() if isinstance(v, Tensor) else v for name, v in held.items()}
        return type(self)(**pinned)


def _validated_support(support: Tensor | None, form: str) -> Image | None:
    if support is None:
        return None
    dimensions = form.count("x") + 1
    if not isinstance(support, Tensor) or support.ndim != dimensions or support.shape[-3] != CHANNELS:
        found = tuple(support.shape) if isinstance(support, Tensor) else type(support).__name__
        msg = f"support must be {form}, found {found}."
        raise ValueError(msg)
    return Image(support, dtype=torch.float32)
