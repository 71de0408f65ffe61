# SPDX-License-Identifier: Apache-2.0
"""The sets of MedIAnomaly and DDAD, split by a ``data.json``; SCRD4AD's data come this way too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from anomalib_fsad.data.readers.registry import Sample, reader, to_table
from anomalib_fsad.data.readers.tables import LayoutError, read_json
from anomalib_fsad.images.listing import images_in


@reader("split_json", ("data.json",))
def read_split_json(root: Path, category: str, seed: int = 0) -> pd.DataFrame:
    """Cai et al., "MedIAnomaly: A comparative study of anomaly detection in medical images", 2025.

    Layout: ``<root>/data.json`` holding ``{train: {"0": [names]}, test: {"0": [names], "1": [names]}}`` beside a folder
    of images, ``images/`` as a rule.

    Quirks: DDAD's files hold an ``unlabeled`` part of the training images too, which mixes normal and abnormal ones and
    is not used. Names may lack their suffix.

    Args:
        root: the folder of ``data.json``.
        category: name of the set.
        seed: not needed; the split is the file's.
    """
    del seed
    return to_table(list(_samples(root)), category)


def _samples(root: Path) -> Iterator[Sample]:
    # Masks that lie beside the images have the same names: images/ comes last, and so wins.
    files = sorted(images_in(root, below=True), key=lambda f: f.relative_to(root).parts[0] == "images")
    by_name = {f.stem: f for f in files} | {f.name: f for f in files} | {str(f.relative_to(root)): f for f in files}
    splits = read_json(root / "data.json")
    for split in ("train", "test"):
        for label in ("0", "1"):
            if split == "train" and label == "1":
                continue
            for name in _names(splits, split, label):
                path = by_name.get(str(name)) or by_name.get(Path(str(name)).name)
                if path is None:
                    msg = f"data.json lists {name!r} ({split}/{label}), but no image has that name"
                    raise LayoutError(msg)
                yield Sample(path, "normal" if label == "0" else "abnormal", label == "1", split)


def _names(splits: dict[str, Any], split: str, label: str) -> list[Any]:
    part = splits.get(split, {})
    names = part.get(label, []) if isinstance(part, dict) else None
    if not isinstance(names, list):
        msg = f"data.json has no list of names at {split}/{label}"
        raise LayoutError(msg)
    return names
