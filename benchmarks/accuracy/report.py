# SPDX-License-Identifier: Apache-2.0
"""Several folders of ``anomalib-fsad compare``, or csv files of anomalib's own benchmark -> one page.

python -m benchmarks.accuracy report results/few_shot results/one_class --out results/report
python -m benchmarks.accuracy report runs/benchmark/*/results.csv --out results/report
"""

from collections.abc import Sequence
from pathlib import Path

from anomalib_fsad.compare.reading import read_results
from anomalib_fsad.compare.report import write_report
from benchmarks.command import parser_of


def main(arguments: Sequence[str]) -> None:
    """Write the report."""
    parser = parser_of("accuracy report", __doc__)
    parser.add_argument("results", nargs="+", type=Path, help="folders of finished cells, results.csv of anomalib's")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.md, summary.csv and the plots")
    parser.add_argument("--into", type=Path, help="put the tables into this document instead of report.md")
    options = parser.parse_args(arguments)
    for file in write_report(read_results(options.results), options.out, options.into):
        print(file)
