# SPDX-License-Identifier: Apache-2.0
"""An image or a folder of images -> a table, heat maps and a page to look through."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from anomalib_fsad.commands.common import ATTENTION, INTERRUPTED, OK, add_runtime, inferencer_of, messages, say


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("bundle", type=Path)
    command.add_argument(
        "enrolment", type=Path, nargs="?", help=".npz that enroll wrote; none for a model that compares with no support"
    )
    command.add_argument("images", type=Path, help="an image, or a folder of images")
    command.add_argument("output", type=Path, help="folder for predictions.csv, predictions.json and heat_maps/")
    command.add_argument("--report", type=Path, metavar="FILE.html", help="a page to look the images through")
    command.add_argument("--overwrite", action="store_true", help="replace the results that are there, as a whole")
    command.add_argument("--no-heat-maps", action="store_true")
    command.add_argument("--follow-links", action="store_true", help="also read what lies elsewhere by a symbolic link")
    command.add_argument("--workers", type=int, default=2, help="threads")
    add_runtime(command)


def run(options: argparse.Namespace) -> int:
    """Write a table, heat maps and a report."""
    from rich.progress import track

    from anomalib_fsad.deploy.folder import Row, predict_folder
    from anomalib_fsad.deploy.results import TABLE, UNFINISHED

    if options.workers < 1:
        msg = f"--workers {options.workers} must be at least 1."
        raise ValueError(msg)
    inferencer = inferencer_of(options)
    enrolment = None if options.enrolment is None else inferencer.load(options.enrolment)
    if enrolment is None and inferencer.bundle.metadata.few_shot:
        msg = (
            f"{inferencer.bundle.metadata.model} compares with normal images: enrol some (anomalib-fsad enroll), then "
            "predict BUNDLE ENROLMENT.npz IMAGES OUTPUT."
        )
        raise ValueError(msg)

    def progress(rows: Iterator[Row], count: int) -> Iterable[Row]:
        return track(rows, description="Predicting", total=count, console=messages)

    try:
        summary = predict_folder(
            inferencer,
            enrolment,
            options.images,
            options.output,
            heat_maps=not options.no_heat_maps,
            report=options.report,
            follow_links=options.follow_links,
            overwrite=options.overwrite,
            workers=options.workers,
            track=progress,
        )
    except KeyboardInterrupt:
        unfinished = options.output / UNFINISHED
        if not unfinished.is_dir():
            raise
        say(f"anomalib-fsad predict: interrupted; what was done until then is in {unfinished}")
        return INTERRUPTED
    say(
        f"{summary.images} images, {summary.anomalous} anomalous, {summary.unreadable} unreadable: "
        f"{options.output / TABLE}"
    )
    if options.report is not None:
        say(f"Report: {options.report} ({options.report.stat().st_size / 1e6:.1f} MB)")
    foreign = summary.drift is not None and summary.drift.foreign
    if foreign:
        say(f"warning: {summary.drift}", style="yellow")
    return ATTENTION if summary.unreadable or foreign else OK
