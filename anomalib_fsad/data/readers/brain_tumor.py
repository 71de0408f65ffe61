# SPDX-License-Identifier: Apache-2.0
"""Brain Tumor MRI: axial, sagittal and coronal slices in four classes."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table
from anomalib_fsad.images.listing import images_in

SPELLINGS = {
    "notumor": ("notumor", "no_tumor"),
    "glioma": ("glioma", "glioma_tumor"),
    "meningioma": ("meningioma", "meningioma_tumor"),
    "pituitary": ("pituitary", "pituitary_tumor"),
}

SPLITS = {"Training": "train", "Testing": "test"}


@reader("brain_tumor", ("Training/no*tumor", "Testing/no*tumor"))
def read_brain_tumor(root: Path, category: str, seed: int = 0, *, pituitary: bool = False) -> pd.DataFrame:
    """Nickparvar, "Brain Tumor MRI Dataset", Kaggle, 2021; Bhuvaji et al., "Brain Tumor Classification (MRI)", 2020.

    Layout: ``<root>/{Training,Testing}/{notumor,glioma,meningioma,pituitary}``, also spelt ``no_tumor``,
    ``glioma_tumor`` and so on.

    Quirks: anomaly detection papers leave the pituitary tumours out, and so does this reader unless asked. Tumours of
    ``Training`` are not used.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: not needed; the split is the folders'.
        pituitary: count pituitary tumours as abnormal test images.
    """
    del seed
    samples = [
        Sample(path, label, abnormal=label != "notumor", split=split)
        for folder, split in SPLITS.items()
        for label, spellings in SPELLINGS.items()
        if (pituitary or label != "pituitary") and (split == "test" or label == "notumor")
        for spelling in spellings
        for path in images_in(root / folder / spelling)
    ]
    return to_table(samples, category)
