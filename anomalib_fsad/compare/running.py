# SPDX-License-Identifier: Apache-2.0
"""Run cells by anomalib's own runners: one after another, or several at once, with a bar that counts them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from threading import Event, Thread
from typing import Any

import torch
from tqdm import tqdm

from anomalib_fsad.compare.building import Teachers
from anomalib_fsad.compare.cells import Cell
from anomalib_fsad.compare.store import Store

SECONDS_BETWEEN_COUNTS = 1


def shard(cells: Sequence[Cell], part: str) -> Sequence[Cell]:
    """Every N-th cell of ``I/N``, from the I-th on.

    Example:
        >>> shard(["a", "b", "c"], "0/2")
        ['a', 'c']
    """
    index, _, count = part.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        msg = f"--shard {part}: write I/N with I from 0 to N-1, such as 0/8."
        raise ValueError(msg)
    return cells[int(index) :: int(count)]


def run_cells(
    cells: Sequence[Cell], store: Store, teachers: Teachers, accelerator: str = "auto", jobs: int | None = None
) -> None:
    """Run what is not finished; a failed cell stops no other, and has its traceback in the store's log.

    Args:
        cells: what to run.
        store: where results go.
        teachers: the weights that all models share.
        accelerator: ``auto``, ``cpu`` or ``cuda``.
        jobs: cells at a time; one a GPU, or one on a CPU, by default.
    """
    from anomalib.pipelines.components.runners import ParallelRunner, SerialRunner
    from anomalib.pipelines.components.runners.parallel import ParallelExecutionError
    from anomalib.pipelines.components.runners.serial import SerialExecutionError

    from anomalib_fsad.compare.job import CellGenerator

    todo = [cell for cell in cells if not store.finished(cell)]
    if not todo:
        return
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    generator: Any = CellGenerator(store, accelerator, teachers)
    at_once = jobs or (torch.cuda.device_count() if accelerator == "cuda" else 1)
    several = at_once > 1
    runner = ParallelRunner(generator, n_jobs=at_once) if several else SerialRunner(generator)
    # anomalib's runners show every traceback, go on after a failure, and raise at the end without saying why.
    logging.getLogger("anomalib.pipelines").setLevel(logging.CRITICAL)
    with (
        suppress(SerialExecutionError, ParallelExecutionError),
        _counting(todo, store) if several else nullcontext(),  # the serial runner has a bar of its own
    ):
        runner.run({"cells": todo})


@contextmanager
def _counting(cells: Sequence[Cell], store: Store) -> Iterator[None]:
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
