# SPDX-License-Identifier: Apache-2.0
"""Result files -> one table of cells, and the scores behind them.

Read are folders of finished cells, and ``results.csv`` files of anomalib's own benchmark, which hold the metrics of
anomalib's default evaluator and no scores of single images, hence no intervals.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalib_fsad.compare.cells import EVALUATIONS, KEY, ONE_CLASS
from anomalib_fsad.compare.mistakes import Mistakes

METRICS = {
    "image_AUROC": "AUROC",
    "image_AP": "AP",
    "image_F1Max": "F1max",
    "image_SpecAt95Recall": "spec@95",
    "normals_F1": "F1 (normals)",
    "normals_FPR": "FPR (normals)",
    "pixel_AUROC": "pixel AUROC",
    "pixel_AUPRO": "AUPRO",
}
COSTS = {"ms_per_image": "ms/image", "peak_memory_mib": "peak MiB", "peak_gpu_memory_mib": "peak GPU MiB"}

PIPELINE_COLUMNS = {
    "model.class_path": "model",
    "data.init_args.protocol": "protocol",
    "data.init_args.target": "target",
    "data.init_args.k_shot": "k_shot",
    "data.init_args.val": "val",
}


class Scores(NamedTuple):
    """A cell's test images in the order of their names."""

    paths: tuple[str, ...]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


class Results(NamedTuple):
    """Cells, one a row, and by the row's index the scores, and the worst images, of those that have some."""

    rows: pd.DataFrame
    scores: dict[int, Scores]
    worst: dict[int, Mistakes]


def read_results(paths: Sequence[Path]) -> Results:
    """Everything in some folders and files, one row a cell."""
    tables, files = [], []
    for path in paths:
        if path.suffix == ".csv":
            tables.append(path)
            continue
        found = sorted((path / "cells").glob("*.json"))
        if not found:
            msg = f"{str(path)!r} is no csv of anomalib's benchmark, nor a folder of finished cells."
            raise FileNotFoundError(msg)
        files += found
    return read_rows(files, tables)


def read_rows(files: Sequence[Path], tables: Sequence[Path] = ()) -> Results:
    """Finished cells, and tables of anomalib's benchmark."""
    rows = [json.loads(file.read_text()) for file in files]
    kept = {place: file.with_suffix(".npz") for place, file in enumerate(files)}
    kept = {place: file for place, file in kept.items() if file.is_file()}
    scores = {place: read_scores(file) for place, file in kept.items()}
    worst = {place: found for place, file in kept.items() if (found := read_mistakes(file)) is not None}
    table = pd.DataFrame(rows + [row for file in tables for row in _pipeline_rows(file)])
    _refuse_twins(table)
    table["setting"] = [setting(*values) for values in zip(table["protocol"], table["k_shot"], strict=True)]
    return Results(table, scores, worst)


def _refuse_twins(table: pd.DataFrame) -> None:
    """Cells that differ in an option only would be averaged as if they were one model's."""
    twins = table[table.duplicated(list(KEY), keep=False)]
    if len(twins):
        cell = ", ".join(f"{name} {twins.iloc[0][name]}" for name in KEY)
        msg = (
            f"There are {len(twins)} results that differ in nothing but their options, such as those of: {cell}. "
            "Write runs with other options to another --out, and report on one at a time."
        )
        raise ValueError(msg)


def setting(protocol: str, k_shot: int) -> str:
    """What is compared: models shown the same normal images of the target."""
    return "one class" if protocol == ONE_CLASS else f"K = {int(k_shot)}"


def read_scores(file: Path) -> Scores:
    """The scores of one cell, sorted by image."""
    with np.load(file) as content:
        order = np.argsort(content["paths"])
        paths = tuple(content["paths"][order].tolist())
        return Scores(paths, content["scores"][order], content["labels"][order])


def read_mistakes(file: Path) -> Mistakes | None:
    """The images that the model of one cell erred on most, if they were kept."""
    with np.load(file) as content:
        if "worst_names" not in content:
            return None
        return Mistakes(*(content[f"worst_{name}"] for name in Mistakes._fields))


def _pipeline_rows(file: Path) -> list[dict]:
    """Rows of anomalib's benchmark; a missing option has MedicalFewShot's default."""
    table = pd.read_csv(file)
    seed = "data.init_args.support_seed"
    table["seed"] = table[seed] if seed in table and table[seed].nunique() > 1 else table["seed"]
    table = table.rename(columns=PIPELINE_COLUMNS)
    for column, default in (("protocol", "episodic"), ("k_shot", 4), ("val", "held_out")):
        if column not in table:
            table[column] = default
    table["model"] = table["model"].str.split(".").str[-1]
    names = {val: evaluation for evaluation, val in EVALUATIONS.items()}
    table["evaluation"] = table["val"].map(names)
    kept = [*KEY]
    kept += [c for c in table if c in METRICS or c in {"image_F1Score", "pixel_F1Score"}]
    return table[kept].to_dict("records")
