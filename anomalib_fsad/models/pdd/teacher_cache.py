# SPDX-License-Identifier: Apache-2.0
"""What frozen teachers say about a training image is the same in every epoch: let them say it once."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

CachePlace = Literal["none", "ram", "disk"]
Features = list[list[Tensor]]
"""``features[teacher][level]``, B x C x H x W, or C x H x W for one image."""


class TeacherCache:
    """Keeps the teachers' features of each image, found again by the image's own pixels.

    An image that was not seen just as it is (another crop, another noise) is never taken for one that was.

    Args:
        place: ``ram``, or ``disk`` for a temporary folder that goes when the cache does.
        limit_gb: how much to keep; images that come when it is full are looked at anew in each epoch.

    Example:
        >>> import torch
        >>> cache, looks = TeacherCache("ram", limit_gb=1), []
        >>> def look(images):
        ...     looks.append(len(images))
        ...     return [[images + 1, images.mean(dim=1)]]
        >>> images = torch.rand(3, 3, 8, 8)
        >>> _ = cache.features(images[:2], look)
        >>> torch.equal(cache.features(images, look)[0][0], images + 1), looks
        (True, [2, 1])
    """

    def __init__(self, place: Literal["ram", "disk"], limit_gb: float) -> None:
        self.limit = int(limit_gb * 1e9)
        self.used = 0
        self.folder = tempfile.TemporaryDirectory(prefix="pdd_teachers_") if place == "disk" else None
        self.kept: dict[str, Features | Path] = {}

    def __len__(self) -> int:
        """Images kept."""
        return len(self.kept)

    def features(self, images: Tensor, look: Callable[[Tensor], Features]) -> Features:
        """The features of images, B x 3 x H x W; those not at hand are looked at, all at once."""
        keys = [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).hexdigest() for image in images.cpu()]
        missing = [i for i, key in enumerate(keys) if key not in self.kept]
        fresh = dict(zip(missing, _apart(look(images[missing])), strict=True)) if missing else {}
        together = [fresh[i] if i in fresh else self._read(key, images.device) for i, key in enumerate(keys)]
        for i, features in fresh.items():
            self._keep(keys[i], features)
        return _joined(together)

    def _keep(self, key: str, features: Features) -> None:
        size = sum(level.numel() * level.element_size() for levels in features for level in levels)
        if key in self.kept or self.used + size > self.limit:
            return
        self.used += size
        # Cloned, since each is a view that would keep the whole batch.
        own = [[level.detach().cpu().clone() for level in levels] for levels in features]
        if self.folder is None:
            self.kept[key] = own
        else:
            path = Path(self.folder.name) / f"{key}.pt"
            torch.save(own, path)
            self.kept[key] = path

    def _read(self, key: str, device: torch.device) -> Features:
        kept = self.kept[key]
        if isinstance(kept, Path):
            kept = torch.load(kept, weights_only=True)
        return [[level.to(device, non_blocking=True) for level in levels] for levels in kept]


def _apart(features: Features) -> list[Features]:
    """A batch's features, image by image."""
    count = len(features[0][0])
    return [[[level[i] for level in levels] for levels in features] for i in range(count)]


def _joined(images: Sequence[Features]) -> Features:
    """The reverse of ``_apart``."""
    return [[torch.stack(level) for level in zip(*teacher, strict=True)] for teacher in zip(*images, strict=True)]
