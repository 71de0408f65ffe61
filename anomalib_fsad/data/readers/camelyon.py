# SPDX-License-Identifier: Apache-2.0
"""Camelyon16 patches of lymph nodes, as BMAD and MedIAnomaly cut them; BMAD's other sets have the same layout."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table, without_official_split
from anomalib_fsad.images.listing import images_in

NORMAL = ("good", "normal")

ABNORMAL = ("Ungood", "ungood", "tumor", "tumour", "abnormal")


@reader("camelyon", ("train/good", "test/Ungood"), ("train/normal", "test/tumor"), ("normal", "tumor"))
def read_camelyon(root: Path, category: str, seed: int = 0, test_share: float = 0.3) -> pd.DataFrame:
    """Bejnordi et al., "Deep Learning Algorithms for Detection of Lymph Node Metastases", JAMA, 2017.

    Layout: ``<root>/train/{good|normal}``, ``<root>/test/{good|normal}``, ``<root>/test/{Ungood|tumor}``; or only
    ``<root>/normal`` and ``<root>/tumor``.

    Quirks: BMAD puts the images of a class into ``img/`` and the masks into ``label/`` below it, and has a ``valid/``,
    which is not read. Without ``train`` and ``test`` a split is drawn.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: of a drawn split.
        test_share: of the normal images, in a drawn split.
    """
    if (root / "train").is_dir():
        train = [s for s in _samples(root / "train", "train") if not s.abnormal]
        return to_table(train + _samples(root / "test", "test"), category)
    return to_table(without_official_split(_samples(root, ""), test_share, seed, category), category)


def _samples(folder: Path, split: str) -> list[Sample]:
    found = []
    for name in (*NORMAL, *ABNORMAL):
        images = images_in(folder / name / "img") or images_in(folder / name)
        masks = {f.stem: f for f in images_in(folder / name / "label")} if name in ABNORMAL else {}
        found += [Sample(f, name.lower(), name in ABNORMAL, split, masks.get(f.stem)) for f in images]
    return found
