# SPDX-License-Identifier: Apache-2.0
"""Camelyon16 patches of lymph nodes, as BMAD and MedIAnomaly cut them; BMAD's other sets have the same layout."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import (
    Sample,
    folder_named,
    reader,
    sub_folders,
    to_table,
    without_official_split,
)
from anomalib_fsad.data.readers.tables import LayoutError
from anomalib_fsad.images.listing import images_in

NORMAL = ("good", "normal")

ABNORMAL = ("ungood", "tumor", "tumour", "abnormal")

KINDS = (*NORMAL, *ABNORMAL)


def any_case(path: str) -> str:
    """A glob pattern that finds ``path`` in capitals and small letters alike."""
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in path)


@reader(
    "camelyon",
    (any_case("train/good"), any_case("test/ungood/img")),
    (any_case("train/good"), any_case("test/good/img")),
    (any_case("train/normal"), any_case("test/tumor")),
    (any_case("normal"), any_case("tumor")),
)
def read_camelyon(root: Path, category: str, seed: int = 0, test_share: float = 0.3) -> pd.DataFrame:
    """Bejnordi et al., "Deep Learning Algorithms for Detection of Lymph Node Metastases", JAMA, 2017.

    Layout: ``<root>/train/{good|normal}``, ``<root>/test/{good|normal}``, ``<root>/test/{Ungood|tumor}``; or only
    ``<root>/normal`` and ``<root>/tumor``.

    Quirks: BMAD puts the images of a class into ``img/`` and the masks into ``label/`` below it, and has a ``valid/``,
    which is not read; capitals in its folder names differ from copy to copy and do not matter. Without ``train`` and
    ``test`` a split is drawn.

    Args:
        root: the unpacked archive.
        category: name of the set.
        seed: of a drawn split.
        test_share: of the normal images, in a drawn split.
    """
    train, test = folder_named(root, "train"), folder_named(root, "test")
    if train is not None:
        others = sorted({f.name for f in sub_folders(test) if f.name.lower() not in KINDS} if test is not None else [])
        if others:
            msg = f"test/{others[0]} is neither normal nor abnormal here"
            raise LayoutError(msg)
        shown = [s for s in _samples(train, "train") if not s.abnormal]
        return to_table(shown + (_samples(test, "test") if test is not None else []), category)
    return to_table(without_official_split(_samples(root, ""), test_share, seed, category), category)


def _samples(folder: Path, split: str) -> list[Sample]:
    found = []
    for kind in (f for f in sub_folders(folder) if f.name.lower() in KINDS):
        name, abnormal = kind.name.lower(), kind.name.lower() in ABNORMAL
        images = images_in(folder_named(kind, "img") or kind)
        labels = folder_named(kind, "label") if abnormal else None
        masks = {f.stem: f for f in images_in(labels)} if labels is not None else {}
        found += [Sample(f, name, abnormal, split, masks.get(f.stem)) for f in images]
    return found
