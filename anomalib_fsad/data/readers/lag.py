# SPDX-License-Identifier: Apache-2.0
"""LAG: colour fundus photographs, glaucoma or not."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table, without_official_split
from anomalib_fsad.images.listing import images_in

NORMAL, GLAUCOMA = "non_glaucoma", "suspicious_glaucoma"


@reader("lag", (NORMAL, GLAUCOMA))
def read_lag(root: Path, category: str, seed: int = 0, test_share: float = 0.3) -> pd.DataFrame:
    """Li et al., "A Large-Scale Database and a CNN Model for Attention-Based Glaucoma Detection", 2020.

    Layout: ``<root>/{non_glaucoma, suspicious_glaucoma}/image/<n>.jpg``.

    Quirks: ``attention_map/`` beside ``image/`` holds pictures of where ophthalmologists looked; it is not read. There
    is no official split of the public part, so one is drawn.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: of the split.
        test_share: of the normal images.
    """
    samples = [
        Sample(path, label, abnormal=label == GLAUCOMA, split="")
        for label in (NORMAL, GLAUCOMA)
        for path in images_in(root / label / "image" if (root / label / "image").is_dir() else root / label)
    ]
    return to_table(without_official_split(samples, test_share, seed, category), category)
