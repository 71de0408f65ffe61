# SPDX-License-Identifier: Apache-2.0
r"""Run anomalib benchmark files as cells that survive interruption, with every metric and each image's score.

    python -m benchmarks.accuracy run configs/benchmark/few_shot.yaml --root ./datasets/medical \
        --backbone tf_efficientnet_lite0 --pre_trained true --out results/bench

Start it again to go on where it stopped. ``--shard 2/8`` runs the third eighth, for an array of cluster jobs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from anomalib_fsad.compare.building import Teachers
from anomalib_fsad.compare.cells import read_cells
from anomalib_fsad.compare.options import add_file_options, overrides
from anomalib_fsad.compare.running import run_cells, shard
from anomalib_fsad.compare.store import Store
from anomalib_fsad.plugin import register
from benchmarks.command import parser_of


def main(arguments: Sequence[str]) -> int:
    """Returns 1 if a cell failed."""
    parser = parser_of("accuracy run", __doc__)
    add = parser.add_argument
    add_file_options(parser)
    add("--out", type=Path, required=True, help="folder of the results; finished cells in it are not run again")
    add("--accelerator", choices=["auto", "cpu", "cuda"], default="auto")
    add("--jobs", type=int, help="cells at a time; one a GPU, or one on a CPU, by default")
    add("--shard", default="0/1", metavar="I/N", help="run every N-th cell, from the I-th on")
    add("--list", action="store_true", help="print the cells and what is finished, and run nothing")
    options = parser.parse_args(arguments)
    register()
    store = Store(options.out)
    try:
        cells = shard(read_cells(options.configs, overrides(options)), options.shard)
    except ValueError as error:
        parser.error(str(error))
    finished = [cell for cell in cells if store.finished(cell)]
    print(f"{len(cells)} cells, {len(finished)} finished, {len(cells) - len(finished)} to run.")
    if options.list:
        for cell in cells:
            print("done " if cell in finished else "to do", cell.name)
        return 0
    teachers = Teachers(options.pre_trained, store.folder / "weights")
    run_cells(cells, store, teachers, options.accelerator, options.jobs)
    failed = [cell for cell in cells if not store.finished(cell)]
    for cell in failed:
        print(store.failure(cell), file=sys.stderr)
    if len(failed) < len(cells):
        print(f"Rows: {store.write_table()}")
    return 1 if failed else 0
