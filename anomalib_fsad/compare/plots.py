# SPDX-License-Identifier: Apache-2.0
"""The summary as pictures."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd

from anomalib_fsad.compare.entrants import is_ours
from anomalib_fsad.compare.summary import MAIN

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

ENOUGH_SHOTS = 3
"""Of these, AUROC is drawn against K."""

OUR_COLOUR, THEIR_COLOUR = "tab:red", "tab:blue"


def colour(model: str) -> str:
    """Ours red, anomalib's blue."""
    return OUR_COLOUR if is_ours(model) else THEIR_COLOUR


def draw_plots(summary: pd.DataFrame, worth: pd.DataFrame, folder: Path) -> list[Path]:
    """Accuracy with intervals, against time and against K, and what the leak is worth; what there are figures for."""
    files = []
    shown = summary[summary["evaluation"] == "held_out"]
    shown = shown if len(shown) else summary
    files.append(_save(_accuracy, shown, folder / "accuracy.png", panels=shown["setting"].nunique()))
    if "ms_per_image" in shown:
        panels = shown["setting"].nunique()
        files.append(_save(_latency, shown, folder / "latency.png", panels=panels, share_y=True))
    if _shots(shown).nunique() >= ENOUGH_SHOTS:
        files.append(_save(_curves, shown, folder / "shots.png", panels=1))
    if len(worth):
        files.append(_save(_leak, worth, folder / "leak.png", panels=1))
    return files


def _save(draw: object, table: pd.DataFrame, file: Path, panels: int, *, share_y: bool = False) -> Path:
    size = (4.2 * panels if panels > 1 else 7, 3.6)
    figure, axes = plt.subplots(1, panels, figsize=size, squeeze=False, sharex=True, sharey=share_y)
    if panels == 1:
        draw(axes[0, 0], table)  # type: ignore[operator]
    else:
        for axis, (setting, rows) in zip(axes[0], table.groupby("setting", sort=False), strict=True):
            draw(axis, rows)  # type: ignore[operator]
            axis.set_title(str(setting))
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file


def _accuracy(axis: Axes, rows: pd.DataFrame) -> None:
    rows = rows.sort_values(f"{MAIN}_mean")
    for place, (_, row) in enumerate(rows.iterrows()):
        mean = 100 * row[f"{MAIN}_mean"]
        low, high = row.get(f"{MAIN}_low", float("nan")), row.get(f"{MAIN}_high", float("nan"))
        if pd.notna(low):
            axis.plot([100 * low, 100 * high], [place, place], color=colour(row["model"]), linewidth=2, alpha=0.5)
        axis.plot(mean, place, "o", color=colour(row["model"]))
    axis.set_yticks(range(len(rows)), list(rows["model"]))
    axis.axvline(50, color="grey", linewidth=0.8, linestyle=":")
    axis.set_xlabel("image AUROC (%), 95 % interval")


def _shots(rows: pd.DataFrame) -> pd.Series:
    """K of each row; not a number for one class."""
    return pd.to_numeric(rows["setting"].str.removeprefix("K = "), errors="coerce")


def _curves(axis: Axes, rows: pd.DataFrame) -> None:
    """AUROC against K, a line for each model."""
    rows = rows.assign(shots=_shots(rows))
    marks = iter("osD^vPX*<>" * len(rows))
    for model, group in rows.dropna(subset="shots").groupby("model"):
        line = group.sort_values("shots")
        dashed = "-" if is_ours(str(model)) else "--"
        axis.plot(line["shots"], 100 * line[f"{MAIN}_mean"], dashed, marker=next(marks), label=str(model))
    log_axis(axis)
    axis.set_xticks(sorted(rows["shots"].dropna().unique()))
    axis.set_xlabel("K normal images of the target")
    axis.set_ylabel("image AUROC (%)")
    axis.legend(fontsize=7)


def _latency(axis: Axes, rows: pd.DataFrame) -> None:
    memory = rows["peak_memory_mib"] if "peak_memory_mib" in rows else pd.Series(100.0, index=rows.index)
    area = 40 + 160 * memory / memory.max()
    axis.scatter(
        rows["ms_per_image"], 100 * rows[f"{MAIN}_mean"], s=area, c=[colour(m) for m in rows["model"]], alpha=0.6
    )
    for _, row in rows.iterrows():
        place = (row["ms_per_image"], 100 * row[f"{MAIN}_mean"])
        below = is_ours(row["model"])  # so that the names of two neighbours, one of each kind, stay apart
        axis.annotate(row["model"], place, textcoords="offset points", xytext=(6, -10 if below else 4), fontsize=7)
    log_axis(axis)
    axis.margins(x=0.3, y=0.15)
    axis.set_xlabel("ms per image (area: peak memory)")
    axis.set_ylabel("image AUROC (%)")
    axis.label_outer()


def log_axis(axis: Axes) -> None:
    """Ticks at 1, 2 and 5, written out."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())


def _leak(axis: Axes, worth: pd.DataFrame) -> None:
    metric = "image_F1Score" if "image_F1Score_gain" in worth else MAIN
    for place, (_, row) in enumerate(worth.iterrows()):
        values = [100 * row[f"{metric}_held_out"], 100 * row[f"{metric}_as_published"]]
        axis.plot(values, [place, place], color="grey", linewidth=1)
        axis.plot(values[0], place, "o", color=THEIR_COLOUR, label="held out" if place == 0 else None)
        axis.plot(values[1], place, "o", color=OUR_COLOUR, label="as published" if place == 0 else None)
    axis.set_yticks(range(len(worth)), [f"{m}, {s}" for m, s in zip(worth["model"], worth["setting"], strict=True)])
    axis.set_xlabel("F1 at the threshold (%)" if metric == "image_F1Score" else "image AUROC (%)")
    axis.legend(fontsize=7)
