# SPDX-License-Identifier: Apache-2.0
"""A root folder, or a list of sets lying about -> one table of all categories."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from anomalib_fsad.data.readers.registry import READERS, find_reader, recognise, run_reader, sub_folders
from anomalib_fsad.data.readers.tables import LayoutError
from anomalib_fsad.images.listing import images_in

logger = logging.getLogger(__name__)

AUTO = "auto"

TEST_NAMES = ("test", "tests", "testing")


class FoundSet(NamedTuple):
    """A set that is to be read: which category, from where, how."""

    category: str
    folder: Path
    reader: str
    options: Mapping[str, Any] = {}

    def read(self) -> pd.DataFrame:
        """Its table; a set without test images is said, one whose test images its reader does not find is refused."""
        table = run_reader(self.reader, self.folder, self.category, self.options)
        if not (table["split"] == "test").any():
            lost = [f for f in self.folder.iterdir() if f.name.lower() in TEST_NAMES and images_in(f, below=True)]
            if lost:
                msg = (
                    f"reader {self.reader!r} finds no test image in {str(self.folder)!r}, but {lost[0].name!r} holds "
                    f"{len(images_in(lost[0], below=True))} image files. Test images belong into test/good and "
                    "test/<kind>; or name the --data.reader of this layout."
                )
                raise LayoutError(msg)
            logger.warning("%s has no test images: it can be a source, but no target.", self.folder)
        return table


def read_root(root: Path, reader: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Read everything in ``root``; see :func:`find_sets`."""
    found, unknown = find_sets(root, reader, options)
    for folder in unknown:
        logger.warning("%s: no known layout, left out.", folder)
    tables = []
    for each in found:
        logger.info("%s: read as %r.", each.folder, each.reader)
        tables.append(each.read())
    return pd.concat(tables, ignore_index=True)


def find_sets(root: Path, reader: str, options: Mapping[str, Any]) -> tuple[list[FoundSet], list[Path]]:
    """The sets in ``root``, and the sub-folders that show no known layout.

    Args:
        root: folder of one set or of several.
        reader: name of a reader, or ``auto``: each sub-folder is a category, read by the reader whose layout it shows.
        options: for the named reader.
    """
    category = root.resolve().name
    if reader != AUTO:
        find_reader(reader)
        if reader != "phantom":
            _require_folder(root)
        return [FoundSet(category, root, reader, options)], []
    _require_folder(root)
    if options:
        msg = f"reader_args={dict(options)!r} needs a named reader, not reader='auto'."
        raise ValueError(msg)
    whole = recognise(root)
    if whole is not None:
        return [FoundSet(category, root, whole.name)], []
    found, unknown = [], []
    for folder in sub_folders(root):
        known = recognise(folder)
        if known is None:
            unknown.append(folder)
        else:
            found.append(FoundSet(folder.name, folder, known.name))
    if not found:
        msg = (
            f"root={str(root)!r} holds no set in a known layout. Give each set a sub-folder as it unpacks, or as "
            f"<category>/train/good, test/good, test/<kind>; or name its --data.reader, one of {sorted(READERS)}."
        )
        raise FileNotFoundError(msg)
    return found, unknown


def read_sets(root: Path, sets: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Read sets that each have their own place, reader or options.

    Args:
        root: what relative places are relative to.
        sets: ``{category: {root: ..., reader: ..., <option of the reader>: ...}}``; ``root`` defaults to
            ``<root>/<category>``, ``reader`` to ``auto``.
    """
    tables = []
    for category, given in sets.items():
        options = dict(given or {})
        place = root / str(options.pop("root", category))
        name = str(options.pop("reader", AUTO))
        if name != "phantom" and not place.is_dir():
            msg = (
                f"sets: {str(place)!r} ({category}) is no folder, seen from {Path.cwd()}. Give its root in --data.sets."
            )
            raise FileNotFoundError(msg)
        if name == AUTO:
            found = recognise(place)
            if found is None:
                msg = f"sets: {str(place)!r} ({category}) shows no known layout; name its reader: {sorted(READERS)}."
                raise FileNotFoundError(msg)
            name = found.name
        tables.append(FoundSet(category, place, name, options).read())
    return pd.concat(tables, ignore_index=True)


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        msg = (
            f"root={str(root)!r} is no folder (seen from {Path.cwd()}). Pass the folder that holds the data sets: "
            "--data.root path/to/data; for a trial without data: --data.reader phantom."
        )
        raise FileNotFoundError(msg)
