# SPDX-License-Identifier: Apache-2.0
"""A folder of images -> a table and heat maps."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.progress import track

from anomalib_fsad.commands.common import OK, UNREADABLE_IMAGES, add_runtime, inferencer_of, messages


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("bundle", type=Path)
    command.add_argument("enrolment", type=Path, help=".npz that enroll wrote")
    command.add_argument("images", type=Path, help="folder of images")
    command.add_argument("output", type=Path, help="folder for predictions.csv and heat_maps/")
    command.add_argument("--no-heat-maps", action="store_true")
    command.add_argument("--workers", type=int, default=2, help="threads")
    add_runtime(command)


def run(options: argparse.Namespace) -> int:
    """Write a table and heat maps."""
    from anomalib_fsad.deploy.folder import TABLE, Row, predict_folder

    if options.workers < 1:
        msg = f"--workers {options.workers} must be at least 1."
        raise ValueError(msg)
    inferencer = inferencer_of(options)
    inferencer.load(options.enrolment)

    def progress(rows: Iterator[Row], count: int) -> Iterable[Row]:
        return track(rows, description="Predicting", total=count, console=messages)

    summary = predict_folder(
        inferencer,
        options.images,
        options.output,
        heat_maps=not options.no_heat_maps,
        workers=options.workers,
        track=progress,
    )
    messages.print(
        f"{summary.images} images, {summary.anomalous} anomalous, {summary.unreadable} unreadable: "
        f"{options.output / TABLE}",
        markup=False,
        soft_wrap=True,
    )
    return UNREADABLE_IMAGES if summary.unreadable else OK
