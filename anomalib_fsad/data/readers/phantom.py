# SPDX-License-Identifier: Apache-2.0
"""The procedural phantom set, written to disk on first use."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anomalib_fsad.data.phantom import STRENGTHS, write_phantom
from anomalib_fsad.data.readers.folder import read_folder
from anomalib_fsad.data.readers.registry import reader


@reader("phantom")
def read_phantom(
    root: Path,
    category: str,
    seed: int = 0,
    image_size: int = 128,
    n_train: int = 60,
    n_test: int = 30,
    spread: float = 1.0,
    strengths: Sequence[str] = tuple(STRENGTHS),
) -> pd.DataFrame:
    """Six drawn organs with five kinds of lesion and exact masks; see :mod:`anomalib_fsad.data.phantom`.

    Layout: none is needed. The set is written once, below ``root``, in the ``folder`` layout.

    Args:
        root: where the set is written; made if missing.
        category: not needed; the categories are the organs.
        seed: of the pictures.
        image_size: pixels along a side.
        n_train: healthy training images of each organ.
        n_test: healthy test images of each organ, and as many with lesions.
        spread: how far patients' poses and shapes lie apart; 0 makes them all alike.
        strengths: of the lesions: ``easy``, ``hard`` or both.
    """
    home = write_phantom(root, image_size, n_train, n_test, seed, spread, list(strengths))
    return read_folder(home, category, seed)
