# SPDX-License-Identifier: Apache-2.0
"""Where the limits of ``predict``'s drift and of ``enroll``'s outliers come from: both statistics on drawn organs.

Of each bundle, K normal images of an organ are enrolled; then folders of normals and of lesions of this organ are
predicted, of it changed (inverted, darker, flatter, brighter), and of the other organs. And K images are enrolled of
which some are not what they should be. No image of a real set is looked at.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalib_fsad.compare.page import Table, Text
from anomalib_fsad.data.phantom import ORGANS, write_phantom
from anomalib_fsad.deploy import Enrolment, FewShotInferencer
from anomalib_fsad.deploy.drift import drift_of
from anomalib_fsad.deploy.images import images_at, to_rgb
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

SHOTS = (4, 16)
CHANGES = {
    "inverted": lambda x: 1 - x,
    "darker (squared)": lambda x: x**2,
    "flatter (halved contrast)": lambda x: 0.25 + 0.5 * x,
    "brighter (times 1.4)": lambda x: np.clip(1.4 * x, 0, 1),
}
Pictures = NDArray[np.float32]


def pictures(folder: Path, wanted: int) -> Pictures:
    """The first images of a folder."""
    return np.stack([to_rgb(path) for path in images_at(folder)[:wanted]])


def folders(organs: dict[str, dict[str, Pictures]], organ: str) -> Iterator[tuple[str, Pictures]]:
    """What is predicted with an organ's enrolment."""
    good = organs[organ]["good"]
    yield "normals of the same organ", good
    yield "lesions of the same organ, in every image", organs[organ]["bad"]
    for name, change in CHANGES.items():
        yield f"the same organ, {name}", change(good).astype(np.float32)
    for other in organs:
        if other != organ:
            yield "another organ", organs[other]["good"]


def mixtures(normal: Pictures, other: Pictures) -> Iterator[tuple[str, Pictures]]:
    """What is enrolled."""
    count, half = len(normal), len(normal) // 2
    yield "one organ", normal
    yield "one image of another organ", np.concatenate([normal[:-1], other[:1]])
    yield "one image inverted", np.concatenate([normal[:-1], 1 - normal[-1:]])
    yield "half of another organ", np.concatenate([normal[:half], other[: count - half]])


def enrolled(inferencer: FewShotInferencer, images: Pictures) -> Enrolment:
    """An enrolment without a threshold, which needs none here."""
    return inferencer.enroll(list(images), target_fpr=None, pictures=False)


def measure(bundles: Sequence[Path], data: Path, draws: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for each folder that is predicted, and one for each set that is enrolled."""
    organs = {
        organ: {
            "train": pictures(data / organ / "train", 60),
            "good": pictures(data / organ / "test/good", 20),
            "bad": np.stack([to_rgb(p) for p in images_at(data / organ / "test") if p.parent.name != "good"][:20]),
        }
        for organ in ORGANS
    }
    drifts: list[dict[str, Any]] = []
    sets: list[dict[str, Any]] = []
    for bundle in bundles:
        inferencer = FewShotInferencer(bundle)
        for place, organ in enumerate(organs):
            for count in SHOTS:
                for draw in range(draws):
                    rng = np.random.default_rng([place, count, draw])
                    normal = organs[organ]["train"][rng.permutation(len(organs[organ]["train"]))[:count]]
                    other = organs[list(organs)[(place + 1 + draw) % len(organs)]]["train"]
                    which = {"bundle": bundle.name, "organ": organ, "K": count}
                    for kind, images in mixtures(normal, other):
                        enrolment = enrolled(inferencer, images)
                        said = inferencer.normals(enrolment)
                        odd = float(said.times)
                        sets.append({**which, "enrolled": kind, "times as far": odd, "kinds": said.kinds})
                    enrolment = enrolled(inferencer, normal)
                    for kind, images in folders(organs, organ):
                        levels = [found.level for found in inferencer.predict(images, enrolment)]
                        drift = drift_of(levels, enrolment)
                        if drift is not None:
                            warned = {"share": drift.share, "ratio": drift.ratio, "warned": drift.foreign}
                            drifts.append({**which, "predicted": kind, **warned})
    return pd.DataFrame(drifts), pd.DataFrame(sets)


def summary(rows: pd.DataFrame, kind: str, columns: Sequence[str]) -> pd.DataFrame:
    """Lowest, median and highest of each kind."""
    grouped = rows.groupby(kind, sort=False)
    table = pd.DataFrame({"sets": grouped.size()})
    for column in columns:
        for name in ("min", "median", "max"):
            table[f"{column}, {name}"] = grouped[column].agg(name)
    if "warned" in rows:
        table["warned, %"] = 100 * grouped["warned"].mean()
    return table.reset_index()


def main(arguments: Sequence[str]) -> None:
    """Write both tables."""
    parser = parser_of("accuracy enrolment", __doc__)
    add_place(parser, "accuracy")
    parser.add_argument("bundles", nargs="+", type=Path, help="that export wrote, of D24FADs trained on drawn organs")
    parser.add_argument("--data", type=Path, default=Path("results/phantom"), help="where the drawn organs are, or go")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn organs")
    parser.add_argument("--draws", type=int, default=2, help="of K images")
    options = parser.parse_args(arguments)
    data = write_phantom(options.data, n_train=60, n_test=30, seed=options.seed)
    drifts, sets = measure(options.bundles, data, options.draws)
    blocks = [
        made_with(command(parser.prog, arguments)),
        Text(
            "Predicted: the share of pairs in which an image's level exceeds a normal's, and the ratio of the levels."
        ),
        Table.of(summary(drifts, "predicted", ("share", "ratio"))),
        Text("Enrolled: how many times as far apart as the median the farthest image is; as the nearest, the median."),
        Table.of(summary(sets, "enrolled", ("times as far", "kinds"))),
    ]
    rows = pd.concat([drifts, sets], ignore_index=True)
    write(options.results, "enrolment", "Enrolments of drawn organs", rows, blocks)
