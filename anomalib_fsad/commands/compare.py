# SPDX-License-Identifier: Apache-2.0
r"""``anomalib-fsad compare``: models side by side, on the same images, of the same size, with the same teacher.

anomalib-fsad compare D24FAD configs/model/d24fad_nearest.yaml Patchcore Padim --root ./datasets/medical \
    --targets aptos --k_shot 4 --seeds 0 1 2
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from anomalib_fsad.commands.common import FAILED, OK, messages
from anomalib_fsad.compare.options import add_comparison_options
from anomalib_fsad.compare.page import Block
from anomalib_fsad.compare.page import Table as Cells


def add_arguments(command: argparse.ArgumentParser) -> None:
    """See the module."""
    command.description = (
        "Trains and tests models by name on one data set. With --k_shot, ours that takes supports is trained on the "
        "other categories and shown the K normal images that any other model is trained on; without, all are trained "
        "on all normal images. Interrupt it when you like: finished runs are kept."
    )
    add_comparison_options(command)
    command.add_argument("--out", type=Path, default=Path("results/compare"), help="folder of results and report")
    command.add_argument("--accelerator", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument("--jobs", type=int, help="runs at a time; one a GPU, or one on a CPU, by default")
    command.add_argument("--shard", default="0/1", metavar="I/N", help="make every N-th run, from the I-th on")


def run(options: argparse.Namespace) -> int:
    """Run what is not finished, then show and write the tables of all."""
    from anomalib_fsad.compare.building import Teachers
    from anomalib_fsad.compare.cells import NORMALS
    from anomalib_fsad.compare.options import chosen_cells
    from anomalib_fsad.compare.reading import read_rows
    from anomalib_fsad.compare.report import tables, write_report
    from anomalib_fsad.compare.running import run_cells, shard
    from anomalib_fsad.compare.store import Store
    from anomalib_fsad.plugin import register

    register()
    cells = shard(chosen_cells(options, threshold=NORMALS), options.shard)
    store = Store(options.out)
    todo = [cell for cell in cells if not store.finished(cell)]
    messages.print(f"{len(cells)} runs, {len(cells) - len(todo)} finished, {len(todo)} to do.")
    run_cells(cells, store, Teachers(options.pre_trained, options.out / "weights"), options.accelerator, options.jobs)
    failed = [cell for cell in cells if not store.finished(cell)]
    for cell in failed:
        messages.print(store.failure(cell), style="red", markup=False, highlight=False, soft_wrap=True)
    if len(failed) == len(cells):
        return FAILED
    store.write_table()
    results = read_rows([store.row_file(cell) for cell in cells if cell not in failed])
    screen = Console()
    for block in tables(results):
        screen.print(on_screen(block))
    for file in write_report(results, options.out):
        messages.print(str(file), markup=False, highlight=False, soft_wrap=True)
    return FAILED if failed else OK


def on_screen(block: Block) -> str | Table:
    """A part of the report for a terminal."""
    if not isinstance(block, Cells):
        return escape(block.markdown(Path()))
    table = Table(*block.header)
    for line in block.lines:
        table.add_row(*(escape(cell).replace("**", "") for cell in line))
    return table
