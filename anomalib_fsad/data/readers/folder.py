# SPDX-License-Identifier: Apache-2.0
"""The folder layout of MVTec AD and of D24FAD's data: the one to bring own images into."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table
from anomalib_fsad.data.readers.tables import LayoutError
from anomalib_fsad.images.listing import images_in

GOOD = "good"


@reader("folder", ("train/good",))
def read_folder(root: Path, category: str, seed: int = 0) -> pd.DataFrame:
    """Own images, or any set in the form of MVTec AD.

    Layout: ``<root>/<category>/{train/good, test/good, test/<kind>, ground_truth/<kind>}``, or one category directly
    in ``<root>``.

    Quirks: every folder of ``test`` but ``good`` is a kind of anomaly. A mask has its image's name, with or without
    ``_mask``, and any suffix. ``ground_truth`` may be missing.

    Args:
        root: the folder of one category or of several.
        category: name of the category where ``root`` holds only one.
        seed: not needed; the split is the folders'.
    """
    del seed
    if (root / "train" / GOOD).is_dir():
        return to_table(_samples(root), category)
    folders = [f for f in sorted(root.iterdir()) if (f / "train" / GOOD).is_dir()]
    tables = [to_table(_samples(f), f.name) for f in folders]
    return pd.concat(tables, ignore_index=True) if tables else to_table([], category)


def _samples(root: Path) -> Iterator[Sample]:
    for path in images_in(root / "train" / GOOD):
        yield Sample(path, GOOD, abnormal=False, split="train")
    for kind in sorted(f for f in (root / "test").glob("*") if f.is_dir()):
        masks = {p.stem.removesuffix("_mask"): p for p in images_in(root / "ground_truth" / kind.name)}
        images = images_in(kind)
        if not images and images_in(kind, below=True):
            msg = f"the images of test/{kind.name} lie deeper, in folders of their own"
            raise LayoutError(msg)
        for path in images:
            yield Sample(path, kind.name, kind.name != GOOD, "test", masks.get(path.stem))
