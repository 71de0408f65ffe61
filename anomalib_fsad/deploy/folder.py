# SPDX-License-Identifier: Apache-2.0
"""A folder of images in, a table and heat maps out."""

import csv
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.deploy.heat_maps import overlay
from anomalib_fsad.deploy.images import folder_images, to_rgb
from anomalib_fsad.deploy.inferencer import FewShotInferencer
from anomalib_fsad.deploy.prediction import Prediction
from anomalib_fsad.images.decoding import ImageReadError

TABLE = "predictions.csv"
HEAT_MAPS = "heat_maps"
LABELS = {None: "", False: "normal", True: "anomalous"}

Track = Callable[[Iterator["Row"], int], Iterable["Row"]]


class Row(NamedTuple):
    """A line of the table: a prediction or why there is none."""

    image: Path
    prediction: Prediction | None
    error: str = ""


class Summary(NamedTuple):
    """How many images were predicted, called anomalous, and could not be read."""

    images: int
    anomalous: int
    unreadable: int


def predict_folder(
    inferencer: FewShotInferencer,
    folder: Path,
    output: Path,
    *,
    heat_maps: bool = True,
    workers: int = 2,
    track: Track = lambda rows, _: rows,
) -> Summary:
    """Predict every image in and below a folder; an unreadable one gets a line that says so.

    Args:
        inferencer: with an enrolment.
        folder: images, in subfolders too.
        output: where ``predictions.csv`` and ``heat_maps/`` go; not inside ``folder``.
        heat_maps: whether to write them.
        workers: threads; one reads and draws while another computes.
        track: shows progress; takes the rows and their number.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        msg = f"The output {str(output)!r} lies in the folder of images {str(folder)!r}: choose another place."
        raise ValueError(msg)
    paths = folder_images(folder)
    enrolment = inferencer.enrolment
    if not paths or enrolment is None:
        msg = f"{str(folder)!r} holds no images." if enrolment is not None else "Nothing is enrolled."
        raise ValueError(msg)
    output.mkdir(parents=True, exist_ok=True)
    top = heat_map_top(inferencer, enrolment)

    def predict(path: Path) -> Row:
        try:
            pixels = to_rgb(path, inferencer.intensity)
            prediction = inferencer.predict(pixels, enrolment)
        except ImageReadError as error:
            return Row(path, None, error.reason)
        if heat_maps:
            # The suffix is kept: a.png and a.dcm are two images.
            target = output / HEAT_MAPS / path.relative_to(folder).with_name(f"{path.name}.png")
            target.parent.mkdir(parents=True, exist_ok=True)
            overlay(pixels, prediction.anomaly_map, top).save(target)
        return Row(path, prediction)

    anomalous = unreadable = 0
    with (
        (output / TABLE).open("w", newline="", encoding="utf-8") as file,
        ThreadPoolExecutor(max_workers=workers) as pool,
    ):
        table = csv.writer(file)
        references = [f"reference_{k}" for k in range(1, len(enrolment) + 1)]
        table.writerow(["image", "score", "label", "raw_score", *references, "error"])
        for row in track(pool.map(predict, paths), len(paths)):
            table.writerow(table_row(row, folder, len(enrolment)))
            anomalous += row.prediction is not None and bool(row.prediction.label)
            unreadable += row.prediction is None
    return Summary(len(paths), anomalous, unreadable)


def table_row(row: Row, folder: Path, references: int) -> list[str]:
    """The cells of a line."""
    name = row.image.relative_to(folder).as_posix()
    if row.prediction is None:
        return [name, "", "", "", *[""] * references, row.error]
    found = row.prediction
    weights = [f"{weight:.4f}" for weight in found.reference_weights]
    return [name, f"{found.score:.6f}", LABELS[found.label], f"{found.raw_score:.6f}", *weights, ""]


def heat_map_top(inferencer: FewShotInferencer, enrolment: Enrolment) -> float:
    """The value shown as the highest: 1 where maps are normalised, else twice what the references reach."""
    if inferencer.bundle.metadata.normalized or enrolment.threshold is not None or len(enrolment.normal_peaks) == 0:
        return 1.0
    return max(2 * float(enrolment.normal_peaks.max()), 1e-12)
