# SPDX-License-Identifier: Apache-2.0
"""Head CT - hemorrhage: 100 slices with and 100 without a bleeding."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table, without_official_split
from anomalib_fsad.data.readers.tables import read_csv, tell_absent
from anomalib_fsad.images.listing import images_in


@reader("head_ct", ("labels.csv", "head_ct"))
def read_head_ct(root: Path, category: str, seed: int = 0, test_share: float = 0.3) -> pd.DataFrame:
    """Kitamura, "Head CT - hemorrhage", Kaggle, 2018.

    Layout: ``<root>/labels.csv`` with columns ``id`` and ``hemorrhage``, ``<root>/head_ct/<NNN>.png``.

    Quirks: the csv has blanks behind its commas, and ids without the leading zeros of the file names. The archive may
    hold ``head_ct/`` twice, one within the other. There is no official split, so one is drawn.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: of the split.
        test_share: of the normal images.
    """
    folder = root / "head_ct"
    found = images_in(folder) or images_in(folder / "head_ct")
    files = {int(f.stem): f for f in found if f.stem.isdecimal()}
    rows = read_csv(root / "labels.csv", numbers=["id", "hemorrhage"])
    tell_absent(root / "labels.csv", rows["id"].astype(int).tolist(), files)
    samples = [
        Sample(files[number], "hemorrhage" if bleeds else "normal", abnormal=bool(bleeds), split="")
        for number, bleeds in zip(rows["id"].astype(int), rows["hemorrhage"].astype(int), strict=True)
        if number in files
    ]
    return to_table(without_official_split(samples, test_share, seed, category), category)
