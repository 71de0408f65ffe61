# SPDX-License-Identifier: Apache-2.0
"""Where a teacher's features are kept: in memory, or in files that many processes and runs share."""

import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from anomalib_fsad.cache_folder import write_whole
from anomalib_fsad.files import sweep

logger = logging.getLogger(__name__)

GIB = 2**30

COUNTED_AGAIN = 16
"""The folder is counted again whenever this process has written one part in so many of what may be kept."""

Levels = Mapping[str, Tensor]
"""A teacher's maps of one image, C x H x W, by the level's name."""


class Store(Protocol):
    """Keeps the maps of images under names, as long as there is room."""

    def read(self, name: str, levels: Sequence[str]) -> list[Tensor] | None:
        """These levels of what was kept under a name, or nothing if one is missing."""

    def keep(self, name: str, maps: Levels) -> None:
        """Keep them if there is room."""


class MemoryStore:
    """In this process's memory.

    Args:
        limit: bytes.

    Example:
        >>> store = MemoryStore(limit=GIB)
        >>> store.keep("an image", {"4": torch.zeros(2, 8, 8)})
        >>> store.read("an image", ["4"])[0].shape, store.read("another", ["4"])
        (torch.Size([2, 8, 8]), None)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.kept: dict[str, dict[str, Tensor]] = {}

    def read(self, name: str, levels: Sequence[str]) -> list[Tensor] | None:
        """From memory."""
        return _picked(self.kept.get(name, {}), levels)

    def keep(self, name: str, maps: Levels) -> None:
        """Copies, since each map is a view that would keep its whole batch."""
        size = _bytes_of(maps.values()) - _bytes_of(self.kept.get(name, {}).values())
        if self.used + size > self.limit:
            _tell_full(self.limit)
            return
        self.used += size
        self.kept[name] = {level: tensor.clone() for level, tensor in maps.items()}


class FolderStore:
    """A file for each image, mapped into memory when it is read.

    Any number of processes may use the folder: a file appears whole or not at all, carries a digest of its content that
    each process checks when it first reads it, and is made anew if it does not fit. When the folder is full, the files
    go that no one has used for longest, but none that was used since this store was opened.

    Args:
        folder: made when it is first written to.
        limit: bytes, of all files together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.opened = time.time()
        self.checked: set[str] = set()
        with suppress(OSError):  # a folder that is read only
            sweep(folder)
        self._count()

    def read(self, name: str, levels: Sequence[str]) -> list[Tensor] | None:
        """From the file, if it is there and sound."""
        path = self._path(name)
        try:
            with safe_open(path, framework="pt") as file:
                maps = {level: file.get_tensor(level) for level in file.keys()}  # noqa: SIM118 - no mapping
                if name not in self.checked:
                    self._check(name, maps, file.metadata())
            return _picked(maps, levels)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError) as error:
            logger.warning("The teacher's features in %s are damaged (%s) and made anew.", path, error)
            with suppress(OSError):  # a folder that is read only
                path.unlink(missing_ok=True)
            return None

    def keep(self, name: str, maps: Levels) -> None:
        """As a file; where none can be written, on a full disk or a read-only one, training goes on without."""
        size = _bytes_of(maps.values())
        while self.used + size > self.limit and self.old:
            self._drop_oldest()
        if self.used + size > self.limit:
            _tell_full(self.limit)
            return
        whole = {level: tensor.contiguous() for level, tensor in maps.items()}
        try:
            # Not save_file: killed, it leaves a draft of its own that nobody knows.
            content = save(whole, {"digest": digest_of(whole)})
            write_whole(self._path(name), lambda draft: draft.write_bytes(content))
        except (OSError, SafetensorError) as error:
            _tell_unwritable(self.folder, error)
            return
        self.checked.add(name)
        self.used += size
        self.written += size
        if self.written > self.limit / COUNTED_AGAIN:
            self._count()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).with_suffix("").as_posix()

    def _check(self, name: str, maps: Levels, metadata: Mapping[str, str] | None) -> None:
        if (metadata or {}).get("digest") != digest_of(maps):
            msg = "the content is not what its digest says"
            raise ValueError(msg)
        self.checked.add(name)
        with suppress(OSError):
            os.utime(self._path(name))  # what was used last

    def _count(self) -> None:
        """See what is there, and what of it may go, the oldest last."""
        self.written = 0
        self.used = 0
        old = []
        for path in self.folder.rglob("*.safetensors"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process dropped it
                continue
            self.used += state.st_size
            if state.st_mtime < self.opened and self._name(path) not in self.checked:
                old.append((state.st_mtime, state.st_size, path))
        self.old = deque(sorted(old))

    def _drop_oldest(self) -> None:
        used, size, path = self.old.popleft()
        try:
            if path.stat().st_mtime == used:  # else it was used, or written anew, meanwhile
                path.unlink()
                self.used -= size
        except FileNotFoundError:
            self.used -= size


def digest_of(maps: Levels) -> str:
    """Of names, types, shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(maps.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's values as they lie in memory, in whatever precision."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _picked(maps: Levels, levels: Sequence[str]) -> list[Tensor] | None:
    return [maps[level] for level in levels] if all(level in maps for level in levels) else None


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


_told: set[int | Path] = set()


def _tell_full(limit: int) -> None:
    """Once a process."""
    if limit not in _told:
        _told.add(limit)
        logger.warning(
            "The cache of teachers' features is full at %g GiB: images beyond it are looked at anew in each epoch. "
            "Raise --model.cache_gib, or pass --model.cache_half true.",
            limit / GIB,
        )


def _tell_unwritable(folder: Path, error: Exception) -> None:
    """Once a process and folder."""
    if folder not in _told:
        _told.add(folder)
        logger.warning(
            "The teachers' features cannot be kept in %s (%s): images are looked at anew in each epoch. Make room, or "
            "name another folder in $ANOMALIB_FSAD_CACHE.",
            *(folder, error),
        )
