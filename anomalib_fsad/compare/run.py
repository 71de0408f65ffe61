# SPDX-License-Identifier: Apache-2.0
r"""Run anomalib benchmark files as cells that survive interruption, with every metric and each image's score.

    python -m anomalib_fsad.compare.run configs/benchmark/few_shot_*.yaml --root ./datasets/medical --weights ./weights \
        --out results/bench

Start it again to go on where it stopped. ``--shard 2/8`` runs the third eighth, for an array of cluster jobs.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
from tqdm import tqdm

from anomalib_fsad.plugin import register
from anomalib_fsad.compare.cells import Cell, read_cells
from anomalib_fsad.compare.options import add_cell_options, overrides
from anomalib_fsad.compare.store import Store

SECONDS_BETWEEN_COUNTS = 1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add_cell_options(parser)
    add("--out", type=Path, required=True, help="folder of the results; finished cells in it are not run again")
    add("--accelerator", choices=["auto", "cpu", "cuda"], default="auto")
    add("--jobs", type=int, help="cells at a time; one a GPU, or one on a CPU, by default")
    add("--shard", default="0/1", metavar="I/N", help="run every N-th cell, from the I-th on")
    add("--list", action="store_true", help="print the cells and what is finished, and run nothing")
    return parser.parse_args(arguments)


def shard(cells: list[Cell], part: str) -> list[Cell]:
    """Every N-th cell."""
    index, _, count = part.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        sys.exit(f"--shard {part}: write I/N with I from 0 to N-1, such as 0/8.")
    return cells[int(index) :: int(count)]


@contextmanager
def counting(cells: list[Cell], store: Store) -> Iterator[None]:
    """A bar that counts finished cells, whichever process finishes them."""
    done = Event()

    def watch() -> None:
        with tqdm(total=len(cells), desc="cells") as bar:
            while True:
                over = done.wait(SECONDS_BETWEEN_COUNTS)
                bar.update(sum(map(store.finished, cells)) - bar.n)
                if over:
                    return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def run(cells: list[Cell], store: Store, accelerator: str, weights: Path | None, jobs: int | None) -> list[Cell]:
    """Run what is not finished, by anomalib's runners, and return what failed."""
    from anomalib.pipelines.components.runners import ParallelRunner, SerialRunner

    from anomalib_fsad.compare.job import CellGenerator

    generator: Any = CellGenerator(store, accelerator, weights)
    at_once = jobs or (torch.cuda.device_count() if accelerator == "cuda" else 1)
    several = at_once > 1
    runner = ParallelRunner(generator, n_jobs=at_once) if several else SerialRunner(generator)
    try:
        with counting(cells, store) if several else nullcontext():  # the serial runner has a bar of its own
            runner.run({"cells": cells})
    except Exception as error:  # anomalib's runners go on after a failure and raise at the end
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return [cell for cell in cells if not store.finished(cell)]


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if a cell failed."""
    options = parse(arguments)
    register()
    store = Store(options.out)
    cells = shard(read_cells(options.configs, overrides(options)), options.shard)
    todo = [cell for cell in cells if not store.finished(cell)]
    print(f"{len(cells)} cells, {len(cells) - len(todo)} finished, {len(todo)} to run.")
    if options.list:
        for cell in cells:
            print("done " if store.finished(cell) else "to do", cell.name)
        return 0
    accelerator = options.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    failed = run(todo, store, accelerator, options.weights, options.jobs) if todo else []
    for cell in failed:
        print(f"failed: {cell.name}; see {store.log_file(cell)}", file=sys.stderr)
    if len(failed) < len(cells):
        print(f"Rows: {store.write_table()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
