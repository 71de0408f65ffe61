# SPDX-License-Identifier: Apache-2.0
"""Result files -> tables (markdown, csv) and plots (png).

python -m anomalib_fsad.compare.report results/bench --out results/report
python -m anomalib_fsad.compare.report runs/benchmark/*/results.csv --out results/report
python -m anomalib_fsad.compare.report results/bench --out benchmarks/figures --into benchmarks/RESULTS.md
"""

import argparse
from pathlib import Path

import pandas as pd

from anomalib_fsad.compare.reading import COSTS, METRICS, OURS, Results, read_results
from anomalib_fsad.compare.resampling import DRAWS
from anomalib_fsad.compare.summary import MAIN, by_target, leak_worth, summarise

NONE = "-"
BEGIN, END = "<!-- tables: written by anomalib_fsad.compare.report -->", "<!-- end of tables -->"

LEGEND = (
    "Per cent. ± is the standard deviation over seeds (of the mean over targets); [ ] the 95 % interval when the test "
    f"images are drawn anew ({DRAWS} times, normal and abnormal ones apart). Δ is the AUROC minus that of anomalib's "
    "best own model of the setting (best with hindsight), on the same draws. spec@95: specificity at 95 % recall. "
    "Ours in bold."
)


def markdown(results: Results, draws: int = DRAWS) -> str:
    """All tables."""
    parts = []
    for evaluation, title in (("held_out", "No test label used"), ("as_published", "As published")):
        summary = summarise(results, evaluation, draws)
        if summary.empty:
            continue
        how = "held-out images" if evaluation == "held_out" else "the test set itself, as many papers do"
        parts.append(f"## {title}: threshold and checkpoint chosen on {how}\n\n{LEGEND}")
        for setting, rows in summary.groupby("setting", sort=False):
            parts.append(f"### {setting}\n\n{_note(rows)}\n\n{summary_table(rows)}")
        if evaluation == "held_out":
            parts.append(f"### AUROC by target\n\n{target_table(by_target(results, evaluation))}")
    worth = leak_worth(results)
    if not worth.empty:
        parts.append(f"## What the leak is worth\n\n{leak_table(worth)}")
    return "\n\n".join(parts) + "\n"


def summary_table(rows: pd.DataFrame) -> str:
    """One setting, the best AUROC first."""
    metrics = [m for m in METRICS if f"{m}_mean" in rows and rows[f"{m}_mean"].notna().any()]
    costs = [c for c in COSTS if c in rows and rows[c].notna().any()]
    header = ["model", *(METRICS[m] for m in metrics), "Δ AUROC", *(COSTS[c] for c in costs)]
    lines = []
    for _, row in rows.sort_values(f"{MAIN}_mean", ascending=False).iterrows():
        cells = [_bold(row["model"])]
        cells += [spread(row, m, with_interval=m == MAIN) for m in metrics]
        cells.append(difference(row))
        cells += [f"{row[c]:.0f}" if row[c] >= 100 else f"{row[c]:.1f}" for c in costs]
        lines.append(cells)
    return table(header, lines)


def target_table(rows: pd.DataFrame) -> str:
    """AUROC, a column for each target."""
    targets = sorted(rows["target"].unique())
    lines = []
    for (setting, model), group in rows.groupby(["setting", "model"], sort=False):
        values = group.set_index("target")
        cells = [pm(values.loc[t, "mean"], values.loc[t, "std"]) if t in values.index else NONE for t in targets]
        lines.append([str(setting), _bold(str(model)), *cells])
    return table(["setting", "model", *targets], lines)


def leak_table(worth: pd.DataFrame) -> str:
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
    return table(header, lines)


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


def table(header: list[str], lines: list[list[str]]) -> str:
    """A markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def _note(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    note = f"{first['targets']} target(s), {first['seeds']} seed(s): {first['cells']} cells of each model."
    if first["left_out"]:
        note += f" Left out, without cells in common: {first['left_out']}."
    return note


def _bold(model: str) -> str:
    return f"**{model}**" if model in OURS else model


def put_into(document: Path, tables: str) -> None:
    """Replace what stands between the marks of a document, or add it at its end."""
    text = document.read_text() if document.is_file() else ""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    document.write_text(f"{before.rstrip()}\n\n{BEGIN}\n\n{tables}\n{END}{after or chr(10)}")


def main(arguments: list[str] | None = None) -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="folders of anomalib_fsad.compare.run, results.csv of anomalib's")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.md, summary.csv and the plots")
    parser.add_argument("--into", type=Path, help="put the tables into this document instead of report.md")
    options = parser.parse_args(arguments)
    from anomalib_fsad.compare.plots import draw_plots

    results = read_results(options.results)
    options.out.mkdir(parents=True, exist_ok=True)
    summaries = [summarise(results, e).assign(evaluation=e) for e in ("held_out", "as_published")]
    summary = pd.concat([s for s in summaries if "model" in s], ignore_index=True)
    summary.to_csv(options.out / "summary.csv", index=False, float_format="%.5g")
    put_into(options.into or options.out / "report.md", markdown(results))
    for file in draw_plots(summary, leak_worth(results), options.out):
        print(file)


if __name__ == "__main__":
    main()
