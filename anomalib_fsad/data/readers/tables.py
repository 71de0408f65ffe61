# SPDX-License-Identifier: Apache-2.0
"""The csv and JSON files that sets are described by, read with messages that say what is missing in them."""

import json
import logging
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

logger = logging.getLogger(__name__)


class LayoutError(ValueError):
    """A folder is not what its reader expects."""


def read_csv(path: Path, *, text: Sequence[str] = (), numbers: Sequence[str] = ()) -> pd.DataFrame:
    """The named columns of a csv: those of ``text`` as they are written, those of ``numbers`` as numbers."""
    try:
        rows = pd.read_csv(path, dtype=str, skipinitialspace=True, keep_default_na=False)
    except FileNotFoundError as error:
        msg = f"it has no {path.name}"
        raise LayoutError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path.name} is no readable csv ({str(error).strip()})"
        raise LayoutError(msg) from error
    missing = [name for name in (*text, *numbers) if name not in rows]
    if missing:
        msg = f"{path.name} has no column {missing[0]!r}, only {[str(name) for name in rows]}"
        raise LayoutError(msg)
    for name in numbers:
        values = pd.to_numeric(rows[name], errors="coerce")
        odd = ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if odd.any():
            line = int(odd.argmax())
            msg = f"{path.name}, column {name!r}, line {line + 2}: {rows[name].iloc[line]!r} is no number"
            raise LayoutError(msg)
        rows[name] = values
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"it has no {path.name}"
        raise LayoutError(msg) from error
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path.name} is no readable JSON ({error})"
        raise LayoutError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path.name} holds a {type(content).__name__}, not an object"
        raise LayoutError(msg)
    return content


def inside(root: Path, name: Any, table: str) -> Path:
    """The file that a table names, which lies below ``root``.

    What a link in the folder leads to is not looked at: whoever made the folder made the link.
    """
    if not isinstance(name, str) or not name or "\0" in name or not _is_encodable(name):
        msg = f"{table} names {name!r} where the path of a file is expected"
        raise LayoutError(msg)
    if not Path(os.path.normpath(root / name)).is_relative_to(os.path.normpath(root)):
        msg = f"{table} names {name!r}, which lies outside of its folder; outside=true takes it all the same"
        raise LayoutError(msg)
    return root / name


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def tell_absent(table: Path, names: Sequence[Any], files: Container[Any]) -> None:
    """Warn of what a table lists and no file is there for."""
    absent = [name for name in names if name not in files]
    if absent:
        logger.warning(
            "%s lists %d images, %d of which are not there, e.g. %s; these are left out.",
            *(table, len(names), len(absent), absent[0]),
        )
