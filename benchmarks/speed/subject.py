# SPDX-License-Identifier: Apache-2.0
"""What every measurement of speed shares: cases, each with contenders that take turns, and the table of all."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd
import torch
from matplotlib.figure import Figure

from anomalib_fsad.compare.page import NONE, Table, Text
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write
from benchmarks.timing import Measure, Work, by_the_clock, medians, take_turns, tensor_peak

COSTS = {"s": 1, "ms": 1000, "MiB": 1}
"""Units of which less is better, and what a measure's figure is multiplied by. Other units are not compared."""

NO_SETTINGS = {"rounds", "results", "root", "baseline", "accuracy", "setting"}
"""Options that do not change what is measured."""

SELECTIONS = {"models", "lines", "shots", "sizes", "patches", "files", "anomalib"}
"""Options that say which rows are measured, not what a row is of."""


class Case(NamedTuple):
    """One row of a table: what is measured, and who takes turns.

    Attributes:
        columns: what the row is of, such as ``{"what": "inference", "K": 4}``.
        contenders: by name.
        measure: of a call; the clock's seconds by default.
        unit: of the figures.
        images: that a call is of, where figures are an image's; or those of each contender.
        warm_up: calls of each before the first round.
    """

    columns: dict[str, Any]
    contenders: Mapping[str, Work]
    measure: Measure = by_the_clock()
    unit: str = "ms"
    images: int | Mapping[str, int] = 1
    warm_up: int = 1

    def rows(self, rounds: int, baseline: str | None) -> pd.DataFrame:
        """A row for each contender."""
        turns = COSTS.get(self.unit, 1) * take_turns(self.contenders, rounds, self.measure, self.warm_up)
        turns = turns / (self.images if isinstance(self.images, int) else pd.Series(self.images))
        table = medians(turns, baseline if self.unit in COSTS else None).assign(unit=self.unit)
        return pd.concat([pd.DataFrame([self.columns] * len(table)), table], axis=1)


def timed_and_weighed(
    columns: dict[str, Any], contenders: Mapping[str, Work], clock: Measure, device: torch.device, images: int = 1
) -> Iterator[Case]:
    """Milliseconds, and the peak of what tensors hold."""
    yield Case(columns, contenders, clock, "ms", images)
    yield Case(columns, contenders, tensor_peak(device), "MiB", warm_up=0)


class Subject(Protocol):
    """A module of this folder that ``python -m benchmarks.speed NAME`` measures; its docstring is shown by ``--help``.

    It may also have ``BASELINE`` (the contender that the others are compared with), ``ROUNDS`` (5 by default) and
    ``draw(rows, options)`` (a figure in place of the bars of what each contender costs).
    """

    NOTES: str
    """What the page says below its title."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add options; they become columns of the results."""

    def cases(self, options: argparse.Namespace) -> Iterator[Case]:
        """What to measure; a case is measured before the next is asked for."""


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The options of a subject that compares passes of one network."""
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")


def measure(name: str, subject: Any, arguments: Sequence[str]) -> None:
    """Measure a :class:`Subject`, and write what is known: rows of earlier runs with other options stay."""
    parser = parser_of(f"speed {name}", subject.__doc__)
    subject.add_arguments(parser)
    rounds = getattr(subject, "ROUNDS", 5)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contender")
    add_place(parser, "speed")
    options = parser.parse_args(arguments)
    baseline = getattr(options, "baseline", getattr(subject, "BASELINE", None))
    settings = {
        k: _plain(v) for k, v in vars(options).items() if k not in NO_SETTINGS | SELECTIONS and v not in (None, [])
    }
    found = []
    for case in subject.cases(options):
        found.append(case.rows(options.rounds, baseline).assign(**settings))
        print(wide(found[-1], []).markdown(options.results), flush=True)
    rows = with_earlier(pd.concat(found, ignore_index=True), options.results / f"{name}.csv")
    shown = [column for column in settings if rows[column].nunique(dropna=False) > 1]
    made = made_with(command(parser.prog, arguments), getattr(options, "device", "cpu"))
    blocks = [made, Text(_how(subject.NOTES, baseline)), wide(rows, shown)]
    figure = subject.draw(rows, options) if hasattr(subject, "draw") else None
    write(options.results, name, f"Speed: {name}", rows, blocks, figure or picture(rows, shown, baseline))


def with_earlier(rows: pd.DataFrame, csv: Path) -> pd.DataFrame:
    """The rows of ``csv`` that are of other cases, and these."""
    known = pd.read_csv(csv) if csv.is_file() else pd.DataFrame()
    if set(known) != set(rows):
        return rows
    key = [column for column in rows if column not in {"median", "times_less"}]
    both = pd.concat([known, rows], ignore_index=True)
    return both[~both[key].astype(str).duplicated(keep="last")].reset_index(drop=True)


def cases_of(rows: pd.DataFrame, shown: Sequence[str]) -> list[str]:
    """The columns that tell one case from another."""
    columns = list(rows.columns)
    return [*shown, *columns[: columns.index("contender")], "unit"]


def wide(rows: pd.DataFrame, shown: Sequence[str]) -> Table:
    """A line for each case, a column for each contender: the median, and in brackets how many times less it is."""
    key, contenders = cases_of(rows, shown), list(dict.fromkeys(rows["contender"]))
    lines = []
    for case, group in rows.groupby(key, sort=False, dropna=False):
        found = group.set_index("contender")
        lines.append([*map(str, case), *(_cell(found.loc[c]) if c in found.index else NONE for c in contenders)])
    return Table([*key, *contenders], lines)


def picture(rows: pd.DataFrame, shown: Sequence[str], baseline: str | None) -> Figure | None:
    """How many times less each contender costs than the baseline, a bar for each case."""
    compared = rows[(rows["contender"] != baseline) & rows.get("times_less", pd.Series(dtype=float)).notna()]
    if compared.empty:
        return None
    key = cases_of(rows, shown)
    figure = Figure(figsize=(7, 1 + 0.25 * len(compared)), layout="constrained")
    axis = figure.subplots()
    labels = [", ".join(map(str, row)) for row in compared[["contender", *key]].itertuples(index=False)]
    places = list(range(len(compared)))
    axis.barh(places, compared["times_less"], color=["tab:grey" if u == "MiB" else "tab:red" for u in compared["unit"]])
    axis.set_yticks(places, labels, fontsize=7)
    axis.invert_yaxis()
    axis.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axis.set_xlabel(f"times less than {baseline} (red: time, grey: memory)")
    return figure


def _cell(row: pd.Series) -> str:
    ratio = row.get("times_less")
    return f"{row['median']:.3g}" + ("" if ratio is None or pd.isna(ratio) else f" ({ratio:.2f})")


def _how(notes: str, baseline: str | None) -> str:
    ratio = f" In brackets: how many times less than {baseline}, the median of the rounds' ratios." if baseline else ""
    return f"{notes} The contenders take turns; medians of the rounds.{ratio}"


def _plain(value: Any) -> Any:
    return " + ".join(map(str, value)) if isinstance(value, list) else value
