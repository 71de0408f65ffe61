# SPDX-License-Identifier: Apache-2.0
"""What a document says was measured stands in a csv that is committed beside it."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest

from anomalib_fsad.compare.page import markdown
from anomalib_fsad.compare.report import summary_table, target_table
from tests.docs.documents import PROJECT, documents

RESULTS = PROJECT / "benchmarks" / "results"
COMPARISONS = sorted(path.parent for path in RESULTS.glob("**/summary.csv"))

NUMBER = re.compile(r"(?<![\w.\[(])\d+\.\d+(?![\w.])")
NOT_MEASURED = re.compile(r"`[^`]*`|\]\([^)]*\)")  # options and their values, addresses


def rounded(digits: int) -> set[float]:
    """Every number of every committed csv, as it is and in per cent, and what a page made with it has beside, means."""
    pages = [file.read_text() for file in RESULTS.glob("**/*.md") if file.with_suffix(".csv").is_file()]
    found = {round(float(number), digits) for page in pages for number in NUMBER.findall(page)}
    for file in RESULTS.glob("**/*.csv"):
        for row in csv.reader(file.open()):
            for cell in row:
                try:
                    value = abs(float(cell))
                except ValueError:
                    continue
                found |= {round(value, digits), round(100 * value, digits)}
    return found


def measured(document: str) -> list[tuple[str, str]]:
    """Numbers in the tables of a document that have decimals, each with its line; a recipe's arguments are none."""
    found = []
    for line in (PROJECT / document).read_text().splitlines():
        text = NOT_MEASURED.sub("", line)
        if line.startswith("| `") and not re.search(r"\d+\.\d+ (s|MiB|ms|%)", text):
            continue
        found += [(number, line) for number in NUMBER.findall(text) if line.startswith("|")]
    return found


def test_every_figure_of_a_table_stands_in_a_csv() -> None:
    known = {digits: rounded(digits) for digits in (1, 2, 3)}
    missing = [
        f"{document}: {number} in {line}"
        for document in documents()
        for number, line in measured(document)
        if float(number) not in known[len(number.partition(".")[2])]
    ]
    assert not missing, "\n".join(missing)


def test_a_figure_that_was_never_measured_is_noticed() -> None:
    assert 123.457 not in rounded(3)


@pytest.mark.parametrize("folder", COMPARISONS, ids=lambda path: path.name)
def test_the_tables_of_results_are_those_of_the_csv(folder: Path) -> None:
    own = folder / "report.md"
    page = (own if own.is_file() else PROJECT / "benchmarks" / "RESULTS.md").read_text()
    summary = pd.read_csv(folder / "summary.csv")
    for _, rows in summary.groupby(["evaluation", "setting"]):
        for line in markdown([summary_table(rows)], folder).strip().splitlines():
            assert line in page
    for line in markdown([target_table(pd.read_csv(folder / "targets.csv"))], folder).strip().splitlines():
        assert line in page
