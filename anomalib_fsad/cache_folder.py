# SPDX-License-Identifier: Apache-2.0
"""Where things are kept from run to run, and how a file gets there whole; standard library only."""

import os
from collections.abc import Callable
from pathlib import Path

from anomalib_fsad.files import replacing

VARIABLE = "ANOMALIB_FSAD_CACHE"
"""Names another folder for all that is kept."""


def cache_folder() -> Path:
    """``$ANOMALIB_FSAD_CACHE``, else ``$XDG_CACHE_HOME/anomalib_fsad``, else ``~/.cache/anomalib_fsad``."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anomalib_fsad"


def write_whole(file: Path, save: Callable[[Path], object]) -> None:
    """Make a file's folder, and the file, so that no other process ever sees half of it.

    Args:
        file: where it is to be.
        save: writes to the path it is given, which has another suffix.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, durable=False) as draft:
        save(draft)
