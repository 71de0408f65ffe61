# SPDX-License-Identifier: Apache-2.0
"""Results -> a page: tables of every setting, and plots."""

from pathlib import Path

import pandas as pd

from anomalib_fsad.compare.entrants import is_ours
from anomalib_fsad.compare.page import NONE, Block, Heading, Picture, Table, Text, html_page, markdown
from anomalib_fsad.compare.reading import COSTS, METRICS, Results
from anomalib_fsad.compare.resampling import DRAWS
from anomalib_fsad.compare.summary import MAIN, by_target, leak_worth, summarise
from anomalib_fsad.files import replacing

BEGIN, END = "<!-- tables: written by benchmarks.accuracy report -->", "<!-- end of tables -->"
TITLE = "Results"
WITHOUT_DECIMALS = 100
"""From here on, costs are written without."""

LEGEND = (
    "Per cent. ± is the standard deviation over seeds (of the mean over targets); [ ] the 95 % interval when the test "
    f"images are drawn anew ({DRAWS} times, normal and abnormal ones apart). Δ is the AUROC minus that of anomalib's "
    "best own model of the setting (best with hindsight), on the same draws. spec@95: specificity at 95 % recall. "
    "F1 and FPR (normals): at a threshold from normal images of the target alone, by one rule for all models, meant "
    "for 5 % false alarms. Ours in bold."
)
WAYS = {
    "held_out": "No test label used: threshold and checkpoint chosen on held-out images",
    "as_published": "As published: threshold and checkpoint chosen on the test set itself, as many papers do",
}


def tables(results: Results, draws: int = DRAWS) -> list[Block]:
    """All tables, with what they mean."""
    blocks: list[Block] = []
    for evaluation, title in WAYS.items():
        summary = summarise(results, evaluation, draws)
        if summary.empty:
            continue
        blocks += [Heading(title), Text(LEGEND)]
        for setting, rows in summary.groupby("setting", sort=False):
            blocks += [Heading(str(setting), 3), Text(_note(rows)), summary_table(rows)]
        if evaluation == "held_out":
            blocks += [Heading("AUROC by target", 3), target_table(by_target(results, evaluation))]
    worth = leak_worth(results)
    if not worth.empty:
        blocks += [Heading("What the leak is worth"), leak_table(worth)]
    return blocks


def summary_table(rows: pd.DataFrame) -> Table:
    """One setting, the best AUROC first."""
    metrics = [m for m in METRICS if f"{m}_mean" in rows and rows[f"{m}_mean"].notna().any()]
    costs = [c for c in COSTS if c in rows and rows[c].notna().any()]
    header = ["model", *(METRICS[m] for m in metrics), "Δ AUROC", *(COSTS[c] for c in costs)]
    lines = []
    for _, row in rows.sort_values(f"{MAIN}_mean", ascending=False).iterrows():
        cells = [_bold(row["model"])]
        cells += [spread(row, m, with_interval=m == MAIN) for m in metrics]
        cells.append(difference(row))
        cells += [f"{row[c]:.0f}" if row[c] >= WITHOUT_DECIMALS else f"{row[c]:.1f}" for c in costs]
        lines.append(cells)
    return Table(header, lines)


def target_table(rows: pd.DataFrame) -> Table:
    """AUROC, a column for each target."""
    targets = sorted(rows["target"].unique())
    lines = []
    for (setting, model), group in rows.groupby(["setting", "model"], sort=False):
        values = group.set_index("target")
        cells = [pm(values.loc[t, "mean"], values.loc[t, "std"]) if t in values.index else NONE for t in targets]
        lines.append([str(setting), _bold(str(model)), *cells])
    return Table(["setting", "model", *targets], lines)


def leak_table(worth: pd.DataFrame) -> Table:
    """Both ways side by side."""
    names = {MAIN: "AUROC", "image_F1Max": "F1max", "image_F1Score": "F1 at the threshold"}
    metrics = [m for m in names if f"{m}_gain" in worth]
    header = ["setting", "model", "cells"]
    header += [f"{names[m]}: {way}" for m in metrics for way in ("held out", "as published", "gain")]
    lines = []
    for _, row in worth.iterrows():
        cells = [row["setting"], _bold(row["model"]), str(row["cells"])]
        for m in metrics:
            values = (row[f"{m}_held_out"], row[f"{m}_as_published"])
            cells += [f"{100 * v:.1f}" for v in values] + [f"{100 * row[f'{m}_gain']:+.1f}"]
        lines.append(cells)
    return Table(header, lines)


def spread(row: pd.Series, metric: str, *, with_interval: bool) -> str:
    """Mean ± deviation [low, high]."""
    text = pm(row[f"{metric}_mean"], row[f"{metric}_std"])
    low = row.get(f"{metric}_low")
    if with_interval and low is not None and pd.notna(low):
        text += f" [{100 * low:.1f}, {100 * row[f'{metric}_high']:.1f}]"
    return text


def difference(row: pd.Series) -> str:
    """To the best built-in."""
    mean = row.get("difference_mean")
    if mean is None or pd.isna(mean):
        return NONE
    text = f"{100 * mean:+.1f}"
    if pd.notna(row.get("difference_low")):
        text += f" [{100 * row['difference_low']:+.1f}, {100 * row['difference_high']:+.1f}]"
    return text


def pm(mean: float, deviation: float) -> str:
    """Per cent, with the deviation if there is one."""
    if pd.isna(mean):
        return NONE
    return f"{100 * mean:.1f}" + ("" if pd.isna(deviation) else f" ± {100 * deviation:.1f}")


def _note(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    note = f"{first['targets']} target(s), {first['seeds']} seed(s): {first['cells']} cells of each model."
    if first["left_out"]:
        note += f" Left out, without cells in common: {first['left_out']}."
    return note


def _bold(model: str) -> str:
    return f"**{model}**" if is_ours(model) else model


def put_into(document: Path, tables: str) -> None:
    """Replace what stands between the marks of a document, or add it at its end."""
    text = document.read_text() if document.is_file() else f"# {TITLE}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    with replacing(document) as draft:
        draft.write_text(f"{before.rstrip()}\n\n{BEGIN}\n\n{tables}\n{END}{after or chr(10)}")


def write_report(results: Results, out: Path, into: Path | None = None) -> list[Path]:
    """Write ``report.md``, ``report.html``, ``summary.csv``, ``cells.csv`` and the plots.

    ``cells.csv`` has every run, and ``targets.csv`` what the table by target shows. Single images are in the HTML page
    alone.

    Args:
        results: of finished cells.
        out: where they go.
        into: a document that takes the tables instead of ``report.md``.

    Returns:
        The files written.
    """
    from anomalib_fsad.compare.mistake_plots import mistake_blocks
    from anomalib_fsad.compare.plots import draw_plots

    out.mkdir(parents=True, exist_ok=True)
    summaries = [summarise(results, e).assign(evaluation=e) for e in WAYS]
    summary = pd.concat([s for s in summaries if "model" in s], ignore_index=True)
    worth = leak_worth(results)
    csvs = {"summary": summary, "targets": by_target(results, "held_out"), "cells": results.rows, "leak": worth}
    for name, table in csvs.items():
        if len(table):
            with replacing(out / f"{name}.csv") as draft:
                table.to_csv(draft, index=False, float_format="%.9g")
    plots = draw_plots(summary, worth, out)
    blocks, document = tables(results), into or out / "report.md"
    page = [*blocks, *(Picture(file, file.stem) for file in plots)]
    put_into(document, markdown(page if into is None else blocks, document.parent))
    with replacing(out / "report.html") as draft:
        draft.write_text(html_page(TITLE, [Heading(TITLE, 1), *page, *mistake_blocks(results)]))
    return [document, out / "report.html", out / "summary.csv", *plots]
