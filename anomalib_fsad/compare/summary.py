# SPDX-License-Identifier: Apache-2.0
"""Cells -> one row for each model and setting: means, deviations, intervals, differences to the best built-in."""

import zlib
from typing import NamedTuple

import numpy as np
import pandas as pd

from anomalib_fsad.compare.entrants import is_ours
from anomalib_fsad.compare.reading import COSTS, METRICS, Results, Scores
from anomalib_fsad.compare.resampling import DRAWS, Array, draw_counts, interval, mean_of, resampled_metrics

MAIN = "image_AUROC"


class Compared(NamedTuple):
    """The cells of a setting that all its models have.

    Attributes:
        rows: those cells.
        cells: (target, seed) of each.
        left_out: models without cells in common, with how many they have.
    """

    rows: pd.DataFrame
    cells: list[tuple[str, int]]
    left_out: dict[str, int]


def common_cells(rows: pd.DataFrame) -> Compared:
    """Cut a setting down to the targets and seeds that every model has; the emptiest models go if there are none."""
    held = {
        str(model): set(zip(group["target"], group["seed"], strict=True))
        for model, group in rows.groupby("model", sort=True)
    }
    left_out: dict[str, int] = {}
    while len(held) > 1 and not set.intersection(*held.values()):
        emptiest = min(held, key=lambda model: len(held[model]))
        left_out[emptiest] = len(held.pop(emptiest))
    cells = set.intersection(*held.values()) if held else set()
    shared = [cell in cells for cell in zip(rows["target"], rows["seed"], strict=True)]
    kept = rows[np.array(shared) & rows["model"].isin(held)]
    return Compared(kept, sorted(cells), left_out)


def summarise(results: Results, evaluation: str, draws: int = DRAWS) -> pd.DataFrame:
    """One row for each model of each setting.

    Args:
        results: the cells.
        evaluation: ``held_out`` or ``as_published``.
        draws: of the bootstrap.

    Returns:
        For each metric ``<metric>_mean``, ``_std`` (over seeds, of the mean over targets), ``_low`` and ``_high`` (of
        the mean over targets and seeds, 95 %, test images drawn anew); ``difference_mean``, ``_low`` and ``_high``
        of the AUROC to ``best_built_in``; time and memory.
    """
    chosen = results.rows[results.rows["evaluation"] == evaluation]
    lines = []
    for setting, rows in sorted(chosen.groupby("setting"), key=lambda item: _order(str(item[0]))):
        compared = common_cells(rows)
        drawn = {str(model): _draws(group, results.scores, draws) for model, group in compared.rows.groupby("model")}
        lines += [
            _line(str(setting), str(model), group, drawn, compared) for model, group in compared.rows.groupby("model")
        ]
    return pd.DataFrame(lines)


def _line(
    setting: str, model: str, group: pd.DataFrame, drawn: dict[str, dict[str, Array]], compared: Compared
) -> dict[str, object]:
    line: dict[str, object] = {
        "setting": setting,
        "model": model,
        "targets": group["target"].nunique(),
        "seeds": group["seed"].nunique(),
        "cells": len(group),
        "left_out": " ".join(f"{name}({cells})" for name, cells in compared.left_out.items()),
    }
    for metric in METRICS:
        if metric not in group or group[metric].isna().all():
            continue
        by_seed = group.groupby("seed")[metric].mean()
        line[f"{metric}_mean"] = group[metric].mean()
        line[f"{metric}_std"] = by_seed.std(ddof=1) if len(by_seed) > 1 else float("nan")
        if metric in drawn[model]:
            line[f"{metric}_low"], line[f"{metric}_high"] = interval(drawn[model][metric])
    best = best_built_in(compared.rows)
    if best is not None and model != best:
        means = compared.rows.groupby("model")[MAIN].mean()
        line["best_built_in"] = best
        line["difference_mean"] = means[model] - means[best]
        if MAIN in drawn[model] and MAIN in drawn[best]:
            low, high = interval(drawn[model][MAIN] - drawn[best][MAIN])
            line["difference_low"], line["difference_high"] = low, high
    for cost in COSTS:
        if cost in group and group[cost].notna().any():
            line[cost] = group[cost].median()
    return line


def best_built_in(rows: pd.DataFrame) -> str | None:
    """The model of anomalib's own of the highest mean AUROC: chosen with hindsight, in its favour."""
    theirs = rows[~rows["model"].map(is_ours)]
    if theirs.empty:
        return None
    return str(theirs.groupby("model")[MAIN].mean().idxmax())


def _draws(group: pd.DataFrame, scores: dict[int, Scores], draws: int) -> dict[str, Array]:
    """The mean of each metric over a model's cells, for each draw of test images.

    Every model gets the same draws of a target's images, so that differences between models are paired.
    """
    if not all(index in scores for index in group.index):
        return {}
    parts: dict[str, dict[object, Array]] = {}
    for index, row in group.iterrows():
        cell = scores[int(str(index))]
        seed = zlib.crc32("\n".join((row["target"], *cell.paths)).encode())
        counts = draw_counts(cell.labels, draws, seed)
        for metric, values in resampled_metrics(cell.scores, cell.labels, counts).items():
            parts.setdefault(metric, {})[index] = values
    return {metric: mean_of(values) for metric, values in parts.items()}


def by_target(results: Results, evaluation: str) -> pd.DataFrame:
    """The main metric for each setting, model and target: ``mean`` and ``std`` over seeds, and their ``count``."""
    chosen = results.rows[results.rows["evaluation"] == evaluation]
    groups = chosen.groupby(["setting", "model", "target"])[MAIN]
    table = groups.agg(["mean", "std", "count"]).reset_index()
    return table.sort_values("setting", key=lambda s: s.map(_order), kind="stable")


def leak_worth(results: Results) -> pd.DataFrame:
    """What choosing threshold and checkpoint on the test set adds, on the cells that were run both ways."""
    key = ["setting", "model", "target", "seed"]
    metrics = [m for m in (MAIN, "image_F1Max", "image_F1Score") if m in results.rows]
    ways = {way: rows.set_index(key)[metrics] for way, rows in results.rows.groupby("evaluation")}
    if set(ways) != {"held_out", "as_published"}:
        return pd.DataFrame()
    joined = ways["held_out"].join(ways["as_published"], lsuffix="_held_out", rsuffix="_as_published", how="inner")
    if joined.empty:
        return pd.DataFrame()
    grouped = joined.groupby(["setting", "model"])
    table = grouped.mean().join(grouped.size().rename("cells")).reset_index()
    for metric in metrics:
        table[f"{metric}_gain"] = table[f"{metric}_as_published"] - table[f"{metric}_held_out"]
    return table.sort_values("setting", key=lambda s: s.map(_order), ignore_index=True)


def _order(setting: str) -> float:
    """K = 2 before K = 10 before one class."""
    return float(setting.split("=")[1]) if "=" in setting else np.inf
