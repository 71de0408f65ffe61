# SPDX-License-Identifier: Apache-2.0
"""APTOS 2019: colour fundus photographs graded for diabetic retinopathy."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table, without_official_split
from anomalib_fsad.data.readers.tables import LayoutError, read_csv, tell_absent
from anomalib_fsad.images.listing import images_in

GRADES = ("none", "mild", "moderate", "severe", "proliferative")


@reader("aptos", ("train.csv", "train_images"))
def read_aptos(root: Path, category: str, seed: int = 0, test_share: float = 0.3) -> pd.DataFrame:
    """Karthik, Maggie, Dane, "APTOS 2019 Blindness Detection", Kaggle, 2019.

    Layout: ``<root>/train.csv`` with columns ``id_code`` and ``diagnosis`` (0 to 4), ``<root>/train_images/<id>.png``.

    Quirks: the official test images have no labels, so the split is drawn; grade 0 is normal. Several cameras and
    crops are mixed.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: of the split.
        test_share: of the normal images.
    """
    files = {f.stem: f for f in images_in(root / "train_images")}
    rows = read_csv(root / "train.csv", text=["id_code"], numbers=["diagnosis"])
    tell_absent(root / "train.csv", rows["id_code"].tolist(), files)
    grades = rows["diagnosis"].astype(int)
    if not grades.isin(range(len(GRADES))).all():
        msg = f"train.csv, column 'diagnosis', holds grades {sorted(set(grades.tolist()))}, not 0 to {len(GRADES) - 1}"
        raise LayoutError(msg)
    samples = [
        Sample(files[name], GRADES[grade], abnormal=grade > 0, split="")
        for name, grade in zip(rows["id_code"], grades, strict=True)
        if name in files
    ]
    return to_table(without_official_split(samples, test_share, seed, category), category)
