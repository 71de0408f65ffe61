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

from anomalib_fsad.data.readers.tables import LayoutError
from anomalib_fsad.images.seeds import generator

logger = logging.getLogger(__name__)

Read = Callable[..., pd.DataFrame]

COLUMNS = ["image_path", "label", "label_index", "split", "category", "mask_path"]

NORMAL, ABNORMAL = 0, 1


class Reader(NamedTuple):
    """A registered reader.

    Attributes:
        name: for the option ``reader``.
        read: the function.
        looks_like: alternatives; each is patterns that must all be found in a root of this layout.
    """

    name: str
    read: Read
    looks_like: tuple[tuple[str, ...], ...]


READERS: dict[str, Reader] = {}
"""Every registered reader by name, in the order in which layouts are recognised."""


def reader(name: str, *looks_like: tuple[str, ...]) -> Callable[[Read], Read]:
    """Register a reader.

    Args:
        name: for the option ``reader``.
        looks_like: alternatives; each is glob patterns that must all be found in a root of this layout.
    """

    def register(read: Read) -> Read:
        READERS[name] = Reader(name, read, looks_like)
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


def without_official_split(samples: Sequence[Sample], test_share: float, seed: int, name: str) -> list[Sample]:
    """Draw the test images of a set that comes in one piece: a share of the normal ones, and all abnormal ones.

    Args:
        samples: the set; what their ``split`` says is overwritten.
        test_share: of the normal images.
        seed: of the draw.
        name: of the set, for the log.
    """
    if not 0 < test_share < 1:
        msg = f"The reader option test_share={test_share} of set {name!r} must lie between 0 and 1, e.g. 0.3."
        raise ValueError(msg)
    good = sorted(s for s in samples if not s.abnormal)
    n_test = round(test_share * len(good))
    order = generator(seed).permutation(len(good))
    test = set(order[:n_test].tolist())
    logger.info(
        "%s has no official split: %d of its %d normal images, drawn with seed %d, and all abnormal ones are for "
        "testing (reader options test_share and seed).",
        *(name, n_test, len(good), seed),
    )
    parted = [s._replace(split="test" if i in test else "train") for i, s in enumerate(good)]
    return parted + [s._replace(split="test") for s in samples if s.abnormal]


def recognise(root: Path) -> Reader | None:
    """The first registered reader whose layout ``root`` shows."""
    for candidate in READERS.values():
        for patterns in candidate.looks_like:
            if all(next(root.glob(pattern), None) is not None for pattern in patterns):
                return candidate
    return None


def folder_named(root: Path, name: str) -> Path | None:
    """The sub-folder of that name, in whatever case it is written."""
    return next((f for f in sorted(root.iterdir()) if f.name.lower() == name and f.is_dir()), None)


def run_reader(name: str, root: Path, category: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Read one set, with its options checked."""
    read = find_reader(name).read
    known = [p for p in inspect.signature(read).parameters if p not in {"root", "category"}]
    for option in options:
        if option not in known:
            msg = f"reader {name!r} has no option {option!r}; it has {known or 'none'}."
            raise ValueError(msg)
    try:
        table = read(root, category=category, **options)
        if table.empty:
            msg = "no image was found where it looks"
            raise LayoutError(msg)
    except LayoutError as error:
        msg = f"reader {name!r} cannot read {str(root)!r}: {error}. {_expected(read)} {_remedy(name, root)}"
        raise LayoutError(msg) from error
    return table


def _expected(read: Read) -> str:
    """The layout, as the reader's own documentation gives it, in one line."""
    paragraphs = (inspect.getdoc(read) or "").split("\n\n")
    return next((" ".join(p.split()) for p in paragraphs if p.startswith("Layout:")), "")


def _remedy(name: str, root: Path) -> str:
    other = recognise(root)
    if other is not None and other.name != name:
        return f"It looks like the layout of {other.name!r}: pass --data.reader {other.name}, or auto."
    within = sorted({r.name for r in map(recognise, sub_folders(root)) if r is not None})
    if within:
        return f"Folders in it look like {', '.join(within)}: pass --data.reader auto to read each as what it is."
    return f"Point --data.root at the unpacked set, or name another --data.reader, one of {sorted(READERS)}."


def sub_folders(root: Path) -> list[Path]:
    """The folders in ``root``, sorted; hidden ones are left out."""
    return sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith(".")) if root.is_dir() else []


def find_reader(name: str) -> Reader:
    """The reader of that name."""
    if name not in READERS:
        msg = f"reader={name!r} is unknown; use 'auto' or one of {sorted(READERS)}."
        raise ValueError(msg)
    return READERS[name]
