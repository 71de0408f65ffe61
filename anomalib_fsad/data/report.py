# SPDX-License-Identifier: Apache-2.0
"""What went into an experiment, for the eye."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

_shown: set[str] = set()
"""What this process has already printed: anomalib sets a datamodule up once to fit and once to test."""

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


def show(table: Table, line: str) -> None:
    """Print to stderr, unless this process has printed the same before."""
    console = Console(stderr=True)
    with console.capture() as captured:
        console.print(table)
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    text = captured.get()
    if text not in _shown:
        _shown.add(text)
        console.file.write(text)
        console.file.flush()
