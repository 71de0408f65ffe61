# SPDX-License-Identifier: Apache-2.0
"""What went into an experiment, for the eye (a table) and for the record (plain data)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

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
    """The counts as a table, the target last."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("category")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for category in sorted(counted, key=lambda name: (name == target, name)):
        numbers = [str(counted[category][role] or "-") for role in COLUMNS]
        mark = " (target)" if category == target else ""
        table.add_row(category + mark, *numbers, style="bold" if mark else None)
    return table


def record(options: dict[str, Any], counted: dict[str, dict[str, int]], support: Sequence[str]) -> dict[str, Any]:
    """What ``data.json`` in the results holds."""
    return {**options, "support": [str(Path(path)) for path in support], "images": counted}
