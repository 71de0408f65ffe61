# SPDX-License-Identifier: Apache-2.0
"""A root folder, or a list of sets lying about -> one table of all categories."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anomalib_fsad.data.readers.registry import READERS, find_reader, recognise, run_reader

logger = logging.getLogger(__name__)

AUTO = "auto"


def read_root(root: Path, reader: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Read everything in ``root``.

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
        return run_reader(reader, root, category, options)
    _require_folder(root)
    if options:
        msg = f"reader_args={dict(options)!r} needs a named reader, not reader='auto'."
        raise ValueError(msg)
    whole = recognise(root)
    if whole is not None:
        return run_reader(whole.name, root, category, {})
    tables = []
    for folder in sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith(".")):
        found = recognise(folder)
        if found is None:
            logger.warning("%s: no known layout, left out.", folder)
            continue
        logger.info("%s: read as %r.", folder, found.name)
        tables.append(run_reader(found.name, folder, folder.name, {}))
    if not tables:
        msg = (
            f"root={str(root)!r} holds no set in a known layout. Give each set a sub-folder as it unpacks, or as "
            f"<category>/train/good, test/good, test/<kind>; or name its --data.reader, one of {sorted(READERS)}."
        )
        raise FileNotFoundError(msg)
    return pd.concat(tables, ignore_index=True)


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
        if name != "phantom":
            _require_folder(place)
        if name == AUTO:
            found = recognise(place)
            if found is None:
                msg = f"sets: {str(place)!r} ({category}) shows no known layout; name its reader: {sorted(READERS)}."
                raise FileNotFoundError(msg)
            name = found.name
        tables.append(run_reader(name, place, category, options))
    return pd.concat(tables, ignore_index=True)


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        msg = (
            f"root={str(root)!r} is no folder (seen from {Path.cwd()}). Pass the folder that holds the data sets: "
            "--data.root path/to/data; for a trial without data: --data.reader phantom."
        )
        raise FileNotFoundError(msg)
