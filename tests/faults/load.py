# SPDX-License-Identifier: Apache-2.0
"""The torch-free inferencer under load: 1 to 64 threads, then several processes, with two organs in turn.

    python -m tests.faults.load                 # some minutes
    python -m tests.faults.load --minutes 10

The bundle is a toy, so that what is around its graphs is most of the work. Calls swap the organ, whose enrolment is
read from its file again or taken from memory in turn, and each score must be the very one that a single thread found
before. The processes are spawned, or forked from one that has loaded no runtime: an inferencer itself outlives no fork.
"""

import argparse
import json
import math
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

THREADS = (1, 2, 4, 8, 16, 32, 64)
PROCESSES = 4
IMAGES = 12
ORGANS = ("first", "second")
CHUNK = 100
"""Predictions between two looks at the clock."""
EARLY, LATE = 1_000, 10_000

NOTES = (
    "A toy bundle, one thread of the runtime for each call. `MiB` is the resident size at the end of a row, of several "
    "processes the largest. `growth` is that after 10,000 predictions against that after 1,000."
)


def prepare(folder: Path) -> None:
    """A bundle, two enrolments and some images."""
    import numpy as np
    from PIL import Image

    from anomalib_fsad.deploy import FewShotInferencer
    from tests.unit.deploy.toy_bundle import write_toy_bundle

    write_toy_bundle(folder / "bundle")
    inferencer, rng = FewShotInferencer(folder / "bundle"), np.random.default_rng(0)
    for organ in ORGANS:
        normals = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
        inferencer.enroll(normals, target_fpr=None).save(folder / f"{organ}.npz")
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{number}.png")


class Load:
    """An inferencer, its enrolments, and the scores that it gave when nobody else called it."""

    def __init__(self, folder: Path, backend: str) -> None:
        from anomalib_fsad.deploy import FewShotInferencer

        self.folder = folder
        # One thread a call: it is the calls that are many.
        config: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1} if backend == "openvino" else {"intra_op_num_threads": 1}
        self.inferencer = FewShotInferencer(folder / "bundle", backend=backend, config=config)
        self.kept = {organ: self.inferencer.load(folder / f"{organ}.npz") for organ in ORGANS}
        self.wanted = {number: self.score(number) for number in range(2 * IMAGES)}

    def score(self, number: int) -> float:
        """Of one image against one organ; every other pair of calls reads the enrolment from its file again."""
        organ = ORGANS[number % 2]
        fresh = number // 2 % 2
        enrolment = self.inferencer.load(self.folder / f"{organ}.npz") if fresh else self.kept[organ]
        return self.inferencer.predict(self.folder / f"{number // 2 % IMAGES}.png", enrolment).score

    def other(self, number: int) -> int:
        """1 if the score is another than it was alone."""
        return int(self.score(number) != self.wanted[number % (2 * IMAGES)])

    def run(self, threads: int, seconds: float, at_least: int = 0) -> dict[str, float]:
        """Predict in so many threads until the time is over."""
        made, wrong, began = 0, 0, time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            while made < at_least or time.perf_counter() - began < seconds:
                wrong += sum(pool.map(self.other, range(made, made + CHUNK)))
                made += CHUNK
        return {"predictions": made, "other_scores": wrong, "per_s": made / (time.perf_counter() - began), "MiB": rss()}


def rss() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0]) / 1024


def in_threads(folder: Path, backend: str, seconds: float) -> list[dict[str, Any]]:
    """A row for each number of threads."""
    load = Load(folder, backend)
    return [{"how": "threads", "count": threads, **load.run(threads, seconds)} for threads in THREADS]


def growing(folder: Path, backend: str) -> list[dict[str, Any]]:
    """Memory after 1,000 and 10,000 predictions of a fresh process, in eight threads."""
    load = Load(folder, backend)
    early = load.run(8, 0, EARLY)
    late = load.run(8, 0, LATE - EARLY)
    return [
        {"how": "memory, 8 threads", "count": EARLY, **early},
        {"how": "memory, 8 threads", "count": LATE, **late, "growth": late["MiB"] / early["MiB"] - 1},
    ]


def one_of_several(folder: Path, backend: str, seconds: float) -> dict[str, float]:
    """What one of the processes does."""
    return Load(folder, backend).run(1, seconds)


def in_processes(folder: Path, backend: str, seconds: float) -> list[dict[str, Any]]:
    """A row for each way of starting them."""
    rows: list[dict[str, Any]] = []
    for way in ("fork", "spawn"):
        with multiprocessing.get_context(way).Pool(PROCESSES) as pool:
            found = pool.starmap(one_of_several, [(folder, backend, seconds)] * PROCESSES)
        total = {name: sum(one[name] for one in found) for name in ("predictions", "other_scores", "per_s")}
        rows.append({"how": f"processes, {way}", "count": PROCESSES, **total, "MiB": max(one["MiB"] for one in found)})
    return rows


Rows = list[dict[str, Any]]

WORKS: dict[str, Callable[..., Rows]] = {
    "threads": in_threads,
    "processes": in_processes,
    "memory": growing,
}


def apart(what: str, *arguments: object) -> list[dict[str, Any]]:
    """The rows of one kind, made in a fresh process, which has loaded neither torch nor a runtime."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.load", what, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def draw(rows: Any) -> Any:
    """Throughput against threads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    for backend, group in rows[rows["how"] == "threads"].groupby("backend"):
        axis.plot(group["count"], group["per_s"], marker="o", label=str(backend))
    axis.set(xlabel="threads", ylabel="predictions a second", xscale="log", ylim=(0, None))
    axis.set_xticks(THREADS, [str(threads) for threads in THREADS])
    axis.legend()
    return figure


def main(arguments: Sequence[str]) -> None:
    """Measure, and write csv, page and picture."""
    import pandas as pd

    from anomalib_fsad.compare.page import Table, Text
    from benchmarks.page import add_place, command, made_with, write

    parser = argparse.ArgumentParser(prog="python -m tests.faults.load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1, help="of threads and processes together, for each runtime")
    parser.add_argument("--backends", nargs="+", default=["openvino", "onnx"], choices=["openvino", "onnx"])
    add_place(parser, "speed")
    options = parser.parse_args(arguments)
    seconds = options.minutes * 60 / (len(THREADS) + 2)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        for backend in options.backends:
            for what, given in (("threads", [seconds]), ("processes", [seconds]), ("memory", [])):
                found += [{"backend": backend, **row} for row in apart(what, place, backend, *given)]
                print(pd.DataFrame(found).to_string(index=False), flush=True)
    rows = pd.DataFrame(found)
    lines = [[_cell(value) for value in row] for row in rows.itertuples(index=False)]
    blocks = [made_with(command(parser.prog, arguments)), Text(NOTES), Table(list(rows), lines)]
    write(options.results, "load", "Speed: load", rows, blocks, draw(rows))
    if rows["other_scores"].any():
        msg = "Some scores were others than those of a single thread: see other_scores."
        raise SystemExit(msg)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}" if value < 1000 else f"{value:.0f}"
    return str(value)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WORKS:
        work, place, runtime, *given = sys.argv[1:]
        print(json.dumps(WORKS[work](Path(place), runtime, *map(float, given))))
    else:
        main(sys.argv[1:])
