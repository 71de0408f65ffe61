# SPDX-License-Identifier: Apache-2.0
"""Where things are kept from run to run, and how a file gets there whole; standard library only."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "ANOMALIB_FSAD_CACHE"
"""Names another folder for all that is kept."""


def cache_folder() -> Path:
    """``$ANOMALIB_FSAD_CACHE``, else ``$XDG_CACHE_HOME/anomalib_fsad``, else ``~/.cache/anomalib_fsad``."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anomalib_fsad"


def write_whole(file: Path, save: Callable[[Path], object]) -> None:
    """Write beside the file and rename, so that no other process ever sees half of it.

    Args:
        file: where it is to be; its folder is made.
        save: writes to the path it is given.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=file.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        save(draft)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
