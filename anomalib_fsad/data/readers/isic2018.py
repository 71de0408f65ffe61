# SPDX-License-Identifier: Apache-2.0
"""ISIC 2018, task 3 (HAM10000): dermoscopy of seven kinds of skin lesion; nevi count as normal."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table, without_official_split
from anomalib_fsad.data.readers.tables import read_csv, tell_absent
from anomalib_fsad.images.listing import images_in

KINDS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")

NORMAL = "NV"

PARTS = {"Training": "train", "Validation": "test", "Test": "test"}


@reader("isic2018", ("ISIC2018_Task3_Training_Input",))
def read_isic2018(root: Path, category: str, seed: int = 0, test_share: float = 0.1) -> pd.DataFrame:
    """Codella et al., "Skin Lesion Analysis Toward Melanoma Detection 2018", 2019; Tschandl et al., HAM10000, 2018.

    Layout: ``<root>/ISIC2018_Task3_{Training,Validation,Test}_Input/ISIC_*.jpg`` and
    ``ISIC2018_Task3_{Training,Validation,Test}_GroundTruth.csv``, lying in ``root`` or in a folder of its own name.

    Quirks: the csv is one-hot. Normal images of Training are trained on, Validation and Test are tested on, as far as
    they are there; if neither is, a split of Training is drawn. Several images may show one lesion.

    Args:
        root: the unpacked archives, side by side.
        category: name of the set.
        seed: of the drawn split.
        test_share: of the normal images, in a drawn split.
    """
    samples: list[Sample] = []
    for part, split in PARTS.items():
        name = f"ISIC2018_Task3_{part}"
        tables = sorted(root.rglob(f"{name}_GroundTruth.csv"))
        files = {f.stem: f for f in images_in(root / f"{name}_Input", below=True)}
        if not tables or not files:
            continue
        rows = read_csv(tables[0], text=["image"], numbers=KINDS)
        tell_absent(tables[0], rows["image"].tolist(), files)
        kinds = [str(kind) for kind in rows[list(KINDS)].idxmax(axis=1)]
        samples += [
            Sample(files[image], kind, abnormal=kind != NORMAL, split=split)
            for image, kind in zip(rows["image"], kinds, strict=True)
            if image in files
        ]
    if any(s.split == "test" for s in samples):
        return to_table([s for s in samples if s.split == "test" or not s.abnormal], category)
    return to_table(without_official_split(samples, test_share, seed, category), category)
