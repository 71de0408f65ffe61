# SPDX-License-Identifier: Apache-2.0
"""Whether images are there twice: under another path, or as another file of the same bytes."""

import filecmp
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

TAIL = 4096
"""Bytes at the end by which files of one length are told apart before they are compared whole."""


def copies_among(files: Iterable[str | Path], others: Iterable[str | Path]) -> dict[str, str]:
    """Those of ``files`` that are also among ``others``, and as which of them.

    Only files of the same length are opened, so that a few against many cost little more than a look at the folder.
    """
    by_place: dict[Path, str] = {}
    by_size: dict[int, list[Path]] = defaultdict(list)
    for other in map(Path, others):
        by_place[other.resolve()] = str(other)
        if other.is_file():
            by_size[other.stat().st_size].append(other)
    tails: dict[int, dict[bytes, list[Path]]] = {}
    found: dict[str, str] = {}
    for path in map(Path, files):
        same = by_place.get(path.resolve())
        size = path.stat().st_size if path.is_file() else 0
        if same is None and size in by_size and size > 0:
            if size not in tails:
                tails[size] = defaultdict(list)
                for rival in by_size[size]:
                    tails[size][_tail(rival)].append(rival)
            rivals = tails[size].get(_tail(path), [])
            same = next((str(rival) for rival in rivals if filecmp.cmp(path, rival, shallow=False)), None)
        if same is not None:
            found[str(path)] = same
    return found


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - TAIL, 0))
        return file.read()
