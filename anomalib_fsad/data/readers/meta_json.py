# SPDX-License-Identifier: Apache-2.0
"""Uni-Medical and other sets indexed by a ``meta.json``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from anomalib_fsad.data.readers.registry import COLUMNS, Sample, reader, to_table
from anomalib_fsad.data.readers.tables import LayoutError, inside, read_json

SPLITS = ("train", "test")


@reader("meta_json", ("meta.json",))
def read_meta_json(root: Path, category: str, seed: int = 0, *, outside: bool = False) -> pd.DataFrame:
    """Zhang et al., "Exploring Plain ViT Reconstruction for Multi-class Unsupervised Anomaly Detection", 2023.

    Layout: ``<root>/meta.json`` holding ``{train|test: {<category>: [{img_path, mask_path, cls_name, specie_name,
    anomaly}, ...]}}``, with paths relative to ``root``.

    Quirks: the categories (brain, liver, retinal) are those of the file. ``mask_path`` is empty for normal images.

    Args:
        root: the folder of ``meta.json``.
        category: not needed.
        seed: not needed; the split is the file's.
        outside: whether the file may name images that lie outside of ``root``.
    """
    del category, seed
    meta = read_json(root / "meta.json")
    try:
        names = sorted({name for split in SPLITS for name in meta.get(split, {})})
        tables = [to_table(list(_samples(root, meta, name, outside=outside)), name) for name in names]
    except LayoutError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        msg = f"meta.json is not of the form below ({type(error).__name__}: {error})"
        raise LayoutError(msg) from error
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _samples(root: Path, meta: dict[str, Any], name: str, *, outside: bool) -> Iterator[Sample]:
    def file(entry: dict[str, Any], field: str) -> Path:
        return root / entry[field] if outside else inside(root, entry[field], "meta.json")

    for split in SPLITS:
        for entry in meta.get(split, {}).get(name, []):
            abnormal = bool(int(entry["anomaly"]))
            mask = file(entry, "mask_path") if abnormal and entry.get("mask_path") else None
            label = str(entry.get("specie_name") or "good")
            yield Sample(file(entry, "img_path"), label, abnormal, split, mask)
