# SPDX-License-Identifier: Apache-2.0
"""An image or a folder of images in; a table, heat maps and the facts of the run out."""

import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from anomalib_fsad import __version__
from anomalib_fsad.deploy.cells import plain_cell, shown
from anomalib_fsad.deploy.drift import Drift, drift_of
from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.deploy.heat_maps import overlay
from anomalib_fsad.deploy.images import images_at, leads_out, to_rgb
from anomalib_fsad.deploy.inferencer import FewShotInferencer
from anomalib_fsad.deploy.judgement import Judgement, judgement
from anomalib_fsad.deploy.prediction import Prediction
from anomalib_fsad.deploy.report import check_report_path, entry_of, new_report
from anomalib_fsad.deploy.report.writer import Entry
from anomalib_fsad.deploy.reporting import TITLE, basis_of, finding_of
from anomalib_fsad.deploy.results import HEAT_MAPS, UNFINISHED, new_results
from anomalib_fsad.deploy.runtime import MODULES
from anomalib_fsad.images.decoding import ImageReadError
from anomalib_fsad.images.frames import in_scan_order

LABELS = {None: "", False: "normal", True: "anomalous"}

Track = Callable[[Iterator["Row"], int], Iterable["Row"]]


class Row(NamedTuple):
    """A line of the table: a prediction or why there is none."""

    image: str
    prediction: Prediction | None
    error: str = ""
    entry: Entry | None = None
    """What a report holds of it."""


class Summary(NamedTuple):
    """How many images were predicted, called anomalous, and could not be read; and how foreign they are as a whole."""

    images: int
    anomalous: int
    unreadable: int
    drift: Drift | None


def predict_folder(
    inferencer: FewShotInferencer,
    enrolment: Enrolment | None,
    source: Path,
    output: Path,
    *,
    heat_maps: bool = True,
    report: Path | None = None,
    follow_links: bool = False,
    overwrite: bool = False,
    workers: int = 2,
    track: Track = lambda rows, _: rows,
) -> Summary:
    """Predict an image, or every image in and below a folder; an unreadable one gets a line that says so.

    Args:
        inferencer: of the enrolment's bundle.
        enrolment: what the images are compared with; ``None`` for a model that compares with no support.
        source: an image or a folder.
        output: a folder to write; not inside ``source``. See :mod:`anomalib_fsad.deploy.results`.
        heat_maps: whether to draw them.
        report: an ``.html`` to write; see :mod:`anomalib_fsad.deploy.report`.
        follow_links: whether to read files that symbolic links lead to outside of ``source``.
        overwrite: whether results that are there already may be replaced.
        workers: threads; one reads and draws while another computes.
        track: shows progress; takes the rows and their number.
    """
    paths = in_scan_order(images_at(source))
    folder = source.parent if source.is_file() else source
    _keep_apart(source, output)
    judged = judgement(inferencer.bundle.metadata, enrolment)
    shots = 0 if enrolment is None else len(enrolment)
    header = ["image", "score", "label", "raw_score", *(f"support_{k + 1}" for k in range(shots)), "error"]
    facts = _facts(inferencer, enrolment, judged)
    with ExitStack() as stack:
        page = None
        if report is not None:
            check_report_path(report, overwrite=overwrite)
            page = stack.enter_context(new_report(report, len(paths), TITLE))
        results = stack.enter_context(new_results(output, header, facts, overwrite=overwrite))

        def predict(path: Path) -> Row:
            name = path.relative_to(folder)
            if not follow_links and source.is_dir() and leads_out(path, folder):
                return Row(shown(name), None, "it is a symbolic link that leads out of the folder (--follow-links).")
            try:
                pixels = to_rgb(path, inferencer.intensity)
            except ImageReadError as error:
                return Row(shown(name), None, error.reason)
            prediction = inferencer.predict(pixels, enrolment)
            if heat_maps:
                overlay(pixels, prediction.raw_map, judged.map_scale).save(results.heat_map(name))
            if page is None:
                return Row(shown(name), prediction)
            found = finding_of(shown(name), pixels, prediction, judged)
            return Row(shown(name), prediction, entry=entry_of(found, page.side))

        anomalous, levels = 0, []
        pool = ThreadPoolExecutor(max_workers=workers)
        try:
            for row in track(pool.map(predict, paths), len(paths)):
                results.add(table_row(row, shots))
                if page is not None and row.entry is not None:
                    page.add(row.entry)
                elif page is not None:
                    page.add_unreadable(row.image, row.error)
                if row.prediction is not None:
                    anomalous += bool(row.prediction.label)
                    levels.append(row.prediction.level)
        finally:
            # On Ctrl-C too: what has not begun is not waited for.
            pool.shutdown(cancel_futures=True)
        drift = None if enrolment is None else drift_of(levels, enrolment)
        summary = Summary(len(paths), anomalous, len(paths) - len(levels), drift)
        results.facts |= {**summary._asdict(), "drift": None if drift is None else drift._asdict()}
        if page is not None:
            warnings = [str(drift)] if drift is not None and drift.foreign else []
            page.finish(basis_of(enrolment, judged, facts, warnings))
    return summary


def table_row(row: Row, shots: int) -> list[str]:
    """The cells of a line."""
    if row.prediction is None:
        return [plain_cell(row.image), "", "", "", *[""] * shots, plain_cell(row.error)]
    found = row.prediction
    weights = [f"{weight:.4f}" for weight in found.support_weights]
    return [plain_cell(row.image), f"{found.score:.6f}", LABELS[found.label], f"{found.raw_score:.6g}", *weights, ""]


def _keep_apart(source: Path, output: Path) -> None:
    place, target = source.resolve(), output.resolve()
    if target.is_relative_to(place) or any(place.is_relative_to(target / name) for name in (HEAT_MAPS, UNFINISHED)):
        msg = f"The output {str(output)!r} and the images {str(source)!r} lie in one another: choose another place."
        raise ValueError(msg)


def _facts(inferencer: FewShotInferencer, enrolment: Enrolment | None, judged: Judgement) -> dict[str, Any]:
    """What ``predictions.json`` says of a run before it has begun."""
    runtime = MODULES[inferencer.backend]
    return {
        "bundle": inferencer.bundle.digest,
        "model": inferencer.bundle.metadata.model,
        "enrolment": None if enrolment is None else enrolment.digest,
        "normal_images": 0 if enrolment is None else len(enrolment),
        "threshold": judged.threshold,
        "threshold_source": judged.source,
        "threshold_caution": judged.caution,
        "intensity": inferencer.intensity,
        "software": {
            "anomalib-fsad": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in (runtime, "numpy", "pillow")},
        },
    }
