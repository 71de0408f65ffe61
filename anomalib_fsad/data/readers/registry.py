# SPDX-License-Identifier: Apache-2.0
"""What a reader is, and how a root folder finds the readers of what lies in it.

A reader is a function ``(root, category, seed=0, ...) -> table``. It moves no file and opens no image. The table
has one row an image: ``image_path``, ``label`` (the set's own word), ``label_index`` (0 normal, 1 abnormal), ``split``
(``train`` or ``test``), ``category`` and ``mask_path`` (empty where there is none).
"""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from anomalib_fsad.data.decoding import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

Read = Callable[..., pd.DataFrame]

COLUMNS = ["image_path", "label", "label_index", "split", "category", "mask_path"]

NORMAL, ABNORMAL = 0, 1


class Reader(NamedTuple):
    """A registered reader.

    Attributes:
        name: for the option ``reader``.
        read: the function.
        looks_like: patterns that must all be found in a root of this layout.
    """

    name: str
    read: Read
    looks_like: tuple[str, ...]


READERS: dict[str, Reader] = {}
"""Every registered reader by name, in the order in which layouts are recognised."""


def reader(name: str, looks_like: Sequence[str]) -> Callable[[Read], Read]:
    """Register a reader.

    Args:
        name: for the option ``reader``.
        looks_like: glob patterns that must all be found in a root of this layout.
    """

    def register(read: Read) -> Read:
        READERS[name] = Reader(name, read, tuple(looks_like))
        return read

    return register


class Sample(NamedTuple):
    """One image of a set; a reader yields these."""

    image_path: Path
    label: str
    abnormal: bool
    split: str
    mask_path: Path | None = None


def to_table(samples: Iterator[Sample] | Sequence[Sample], category: str) -> pd.DataFrame:
    """The table of one category, in the order of the paths."""
    rows = [
        (str(s.image_path), s.label, int(s.abnormal), s.split, category, str(s.mask_path) if s.mask_path else "")
        for s in samples
    ]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("image_path", ignore_index=True)


def images_in(folder: Path, *, below: bool = False) -> list[Path]:
    """The image files of a folder, sorted; hidden files are left out.

    Args:
        folder: where to look; a folder that does not exist holds none.
        below: look into its sub-folders too.
    """
    found = folder.rglob("*") if below else folder.glob("*")
    return sorted(p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file())


def recognise(root: Path) -> Reader | None:
    """The first registered reader whose layout ``root`` shows."""
    for candidate in READERS.values():
        if candidate.looks_like and all(next(root.glob(p), None) is not None for p in candidate.looks_like):
            return candidate
    return None


def run_reader(name: str, root: Path, category: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Read one set, with its options checked."""
    read = find_reader(name).read
    known = [p for p in inspect.signature(read).parameters if p not in {"root", "category"}]
    for option in options:
        if option not in known:
            msg = f"reader {name!r} has no option {option!r}; it has {known or 'none'}."
            raise ValueError(msg)
    table = read(root, category=category, **options)
    if table.empty:
        layout = (inspect.getdoc(read) or "").split("\n\n")
        msg = f"reader {name!r} found no image in {str(root)!r}. It expects:\n{layout[1] if len(layout) > 1 else layout}"
        raise FileNotFoundError(msg)
    return table


def find_reader(name: str) -> Reader:
    """The reader of that name."""
    if name not in READERS:
        msg = f"reader={name!r} is unknown; use 'auto' or one of {sorted(READERS)}."
        raise ValueError(msg)
    return READERS[name]
