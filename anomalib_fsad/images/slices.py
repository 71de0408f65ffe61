# SPDX-License-Identifier: Apache-2.0
"""How a frame of a file with several is named: as if the file were a folder. ``cine.dcm/3`` is the third frame."""

from pathlib import Path
from typing import NamedTuple


class Slice(NamedTuple):
    """A file, and which of its frames, counted from 1; ``None`` is the only one."""

    file: Path
    frame: int | None


def slice_at(path: str | Path) -> Slice:
    """What a name stands for.

    Example:
        >>> slice_at("scan.dcm").frame is None
        True
    """
    path = Path(path)
    if path.name.isdecimal() and path.parent.is_file():
        return Slice(path.parent, int(path.name))
    return Slice(path, None)
