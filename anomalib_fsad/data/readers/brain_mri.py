# SPDX-License-Identifier: Apache-2.0
"""Br35H and the "Brain MRI Images for Brain Tumor Detection" of Kaggle: slices with and without a tumour."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table, without_official_split
from anomalib_fsad.images.listing import images_in


@reader("brain_mri", ("yes", "no"))
def read_brain_mri(root: Path, category: str, seed: int = 0, test_share: float = 0.3) -> pd.DataFrame:
    """Chakrabarty, "Brain MRI Images for Brain Tumor Detection", Kaggle, 2019; Hamada, "Br35H", Kaggle, 2020.

    Layout: ``<root>/yes`` (tumour) and ``<root>/no``.

    Quirks: the archive of the former holds everything a second time in ``brain_tumor_dataset/``, which is not read.
    Sizes, contrasts and sources are mixed. There is no official split, so one is drawn; Br35H's ``pred/``
    has no labels and is not read.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: of the split.
        test_share: of the normal images.
    """
    samples = [
        Sample(path, label, abnormal=folder == "yes", split="")
        for folder, label in (("no", "normal"), ("yes", "tumor"))
        for path in images_in(root / folder)
    ]
    return to_table(without_official_split(samples, test_share, seed, category), category)
