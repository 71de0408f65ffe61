# SPDX-License-Identifier: Apache-2.0
"""ZhangLab chest films: children with and without pneumonia."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table
from anomalib_fsad.images.listing import images_in


@reader("zhanglab", ("chest_xray/train/NORMAL", "chest_xray/test/PNEUMONIA"), ("train/NORMAL", "test/PNEUMONIA"))
def read_zhanglab(root: Path, category: str, seed: int = 0) -> pd.DataFrame:
    """Kermany et al., "Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning", 2018.

    Layout: ``<root>/chest_xray/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg``, or the same without ``chest_xray``.

    Quirks: Kaggle's copy has a ``val/`` of 16 images, which is not read, and a second copy in ``chest_xray/``.
    Bacterial and viral pneumonia are told apart by the file name only. Pneumonia of ``train`` is not used.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: not needed; the split is the folders'.
    """
    del seed
    base = root / "chest_xray" if (root / "chest_xray" / "train").is_dir() else root
    samples = [Sample(p, "normal", abnormal=False, split="train") for p in images_in(base / "train" / "NORMAL")]
    samples += [Sample(p, "normal", abnormal=False, split="test") for p in images_in(base / "test" / "NORMAL")]
    samples += [
        Sample(p, "virus" if "virus" in p.stem else "bacteria", abnormal=True, split="test")
        for p in images_in(base / "test" / "PNEUMONIA")
    ]
    return to_table(samples, category)
