# SPDX-License-Identifier: Apache-2.0
"""What went into an experiment, for the eye (a table) and for the record (plain data)."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

RECORDED = ("protocol", "k_shot", "support_seed", "val", "val_images", "same_category_batches", "intensity", "seed")
"""The options of the datamodule that the record names."""

COLUMNS = ("train normal", "validation", "test normal", "test abnormal", "support")


def counts(
    train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame, support: pd.DataFrame
) -> dict[str, dict[str, int]]:
    """Images of each category in each role; a synthetic anomaly counts as one image."""
    normal, abnormal = test[test["label_index"] == 0], test[test["label_index"] == 1]
    roles = dict(zip(COLUMNS, (train, val, normal, abnormal, support), strict=True))
    categories = sorted({name for table in roles.values() for name in table["category"]})
    return {c: {role: int((table["category"] == c).sum()) for role, table in roles.items()} for c in categories}


def setup_table(title: str, counted: dict[str, dict[str, int]], target: str) -> Table:
    """The counts as a table, the target last and in bold."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("category", min_width=max(len(name) for name in counted))
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for category in sorted(counted, key=lambda name: (name == target, name)):
        numbers = [str(counted[category][role] or "-") for role in COLUMNS]
        table.add_row(category, *numbers, style="bold" if category == target else None)
    return table


def support_line(files: Sequence[str]) -> str:
    """Name the support images: their common folder once, and each file in it."""
    if not files:
        return "support images: none"
    paths = [Path(file).absolute() for file in files]
    folder = os.path.commonpath([path.parent for path in paths])
    return f"support images, in {folder}: " + ", ".join(str(path.relative_to(folder)) for path in paths)


def write_record(
    path: Path, options: Mapping[str, Any], counted: dict[str, dict[str, int]], support: Sequence[str]
) -> None:
    """Write options, counts and the names of the support images as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**options, "support": list(support), "images": counted}, indent=2) + "\n")
