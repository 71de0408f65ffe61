# SPDX-License-Identifier: Apache-2.0
"""Whether images are there twice: under another path, or as another file of the same bytes."""

import filecmp
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

TAIL = 4096
"""Bytes at the end by which files of one length are told apart before they are compared whole."""


def copies_among(files: Iterable[str | Path], others: Iterable[str | Path]) -> dict[str, str]:
    """Those of ``files`` that are also among ``others``, and as which of them.

    Only files of the same length are opened, so that a few against many cost little more than a look at the folder.
    """
    by_place: dict[tuple[int, int], str] = {}
    by_size: dict[int, list[str]] = defaultdict(list)
    for other, state in _states(others):
        by_place[state.st_dev, state.st_ino] = other
        by_size[state.st_size].append(other)
    by_tail: dict[int, dict[bytes, list[str]]] = {}
    found: dict[str, str] = {}
    for path, state in _states(files):
        same = by_place.get((state.st_dev, state.st_ino))
        rivals = by_size.get(state.st_size, []) if state.st_size else []
        if same is None and rivals:
            if state.st_size not in by_tail:
                by_tail[state.st_size] = defaultdict(list)
                for rival in rivals:
                    by_tail[state.st_size][_tail(rival)].append(rival)
            alike = by_tail[state.st_size].get(_tail(path), [])
            same = next((rival for rival in alike if filecmp.cmp(path, rival, shallow=False)), None)
        if same is not None:
            found[path] = same
    return found


def _states(paths: Iterable[str | Path]) -> Iterator[tuple[str, os.stat_result]]:
    """The files that are there, and where and how long they are."""
    for path in map(str, paths):
        with suppress(OSError):
            yield path, Path(path).stat()


def _tail(path: str) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - TAIL, 0))
        return file.read()
