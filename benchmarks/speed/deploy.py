# SPDX-License-Identifier: Apache-2.0
"""Latency, start-up and memory of the few-shot inferencer beside anomalib's OpenVINOInferencer.

    python -m benchmarks.deploy_latency                              # wide_resnet50_2 at 128 px, as in the paper
    python -m benchmarks.deploy_latency --backbone resnet18 --rounds 30

Both run the same D24FAD with the same references: anomalib's one graph has them inside, the bundle's scorer takes them
as an input. Weights are random, which changes no timing. The contenders take turns, image by image, so that whatever
else the machine does hits all alike; what is compared is the median of the ratios. Start-up is a process of its own:
imports, loading, and the first prediction; memory is its peak.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results"
IMAGE_SIDES = (128, 512)

START = """
import json, sys, time
began = time.perf_counter()
kind, path, image, enrolment = sys.argv[1:]
if kind == "anomalib OpenVINOInferencer":
    from anomalib.deploy import OpenVINOInferencer
    inferencer = OpenVINOInferencer(path, device="CPU")
else:
    from anomalib_fsad.deploy import FewShotInferencer
    inferencer = FewShotInferencer(path, backend="onnx" if "onnx" in kind else "openvino")
    inferencer.load(enrolment)
inferencer.predict(image)
# Not getrusage: a child starts with the peak of the process that forked it.
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
peak = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps([time.perf_counter() - began, peak]))
"""

OURS = "bundle, OpenVINO"
OURS_ONNX = "bundle, onnxruntime"
THEIRS = "anomalib OpenVINOInferencer"


def prepare(folder: Path, backbone: str, image_size: int, k_shot: int) -> dict[str, Path]:
    """Export both ways, enrol, and draw images."""
    import torch

    from anomalib_fsad.deploy import FewShotInferencer, export
    from anomalib_fsad.models.d24fad import D24FAD

    rng = np.random.default_rng(0)
    references = [rng.random((image_size, image_size, 3), dtype=np.float32) for _ in range(k_shot)]
    model = D24FAD(k_shot=k_shot, backbone=backbone, pre_trained=False, image_size=image_size).eval()
    model.use_support([torch.from_numpy(reference).permute(2, 0, 1) for reference in references])
    paths = {THEIRS: Path(str(model.to_openvino(folder))), OURS: folder / "bundle", OURS_ONNX: folder / "bundle"}
    export(model, folder / "bundle")
    inferencer = FewShotInferencer(folder / "bundle")
    inferencer.enroll(references).save(folder / "organ.npz")
    for side in IMAGE_SIDES:
        Image.fromarray((rng.random((side, side, 3)) * 255).astype(np.uint8)).save(folder / f"{side}.png")
    return paths


def contenders(paths: dict[str, Path], organ: Path) -> dict[str, Callable[[Any], Any]]:
    """Ready to predict, each with as many threads as its runtime chooses."""
    from anomalib.deploy import OpenVINOInferencer

    from anomalib_fsad.deploy import FewShotInferencer

    openvino, onnx = (FewShotInferencer(paths[OURS], backend=backend) for backend in ("openvino", "onnx"))
    for inferencer in (openvino, onnx):
        inferencer.load(organ)
    theirs = OpenVINOInferencer(paths[THEIRS], device="CPU")
    return {THEIRS: theirs.predict, OURS: openvino.predict, OURS_ONNX: onnx.predict}


def take_turns(ready: dict[str, Callable[[Any], Any]], image: Any, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contender in each round, after two rounds that do not count."""
    times: dict[str, list[float]] = {name: [] for name in ready}
    for turn in range(rounds + 2):
        for name, predict in ready.items():
            began = time.perf_counter()
            predict(image)
            if turn > 1:
                times[name].append(1000 * (time.perf_counter() - began))
    return times


def agreement(ready: dict[str, Callable[[Any], Any]], image: str) -> float:
    """The largest relative difference of the scores: that the contenders compute the same thing."""
    theirs = float(np.ravel(ready[THEIRS](image).pred_score)[0])
    return max(abs(ready[name](image).score / theirs - 1) for name in (OURS, OURS_ONNX))


def start_up(paths: dict[str, Path], folder: Path, repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds and MiB of a fresh process up to its first prediction."""
    measured = {}
    for name, path in paths.items():
        command = [sys.executable, "-W", "ignore", "-c", START, name, str(path), str(folder / "128.png")]
        runs = [
            json.loads(
                subprocess.run(
                    [*command, str(folder / "organ.npz")], capture_output=True, text=True, check=True
                ).stdout.splitlines()[-1]
            )
            for _ in range(repeats)
        ]
        measured[name] = (statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs))
    return measured


def main() -> None:
    """Write results/deploy_latency.csv and .md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="wide_resnet50_2")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--k_shot", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    rows = ["what,contender,median,unit,ratio to anomalib"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = prepare(folder, options.backbone, options.image_size, options.k_shot)
        ready = contenders(paths, folder / "organ.npz")
        difference = agreement(ready, str(folder / "512.png"))
        for side in IMAGE_SIDES:
            times = take_turns(ready, str(folder / f"{side}.png"), options.rounds)
            for name, values in times.items():
                ratio = statistics.median(v / t for v, t in zip(values, times[THEIRS], strict=True))
                rows.append(f"{side} x {side} file to prediction,{name.replace(', ', ' on ')},"
                            f"{statistics.median(values):.1f},ms,{ratio:.2f}")  # fmt: skip
        starts = start_up(paths, folder, options.starts)
        for place, (what, unit) in enumerate((("start to first prediction", "s"), ("peak memory", "MiB"))):
            for name, values in starts.items():
                ratio = values[place] / starts[THEIRS][place]
                rows.append(f"{what},{name.replace(', ', ' on ')},{values[place]:.1f},{unit},{ratio:.2f}")
    write(rows, options, difference)


def write(rows: list[str], options: argparse.Namespace, difference: float) -> None:
    """The csv, and the same as a page."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "deploy_latency.csv").write_text("\n".join(rows) + "\n")
    header, *body = [row.split(",") for row in rows]
    table = [header, ["---"] * len(header), *body]
    arguments = f"--backbone {options.backbone} --image_size {options.image_size} --k_shot {options.k_shot}"
    text = (
        "# Latency of the deployed D24FAD\n\n"
        f"`python -m benchmarks.deploy_latency {arguments} --rounds {options.rounds} --starts {options.starts}`, "
        f"{platform.machine()} CPU, Python {platform.python_version()}. Medians; the ratio is the median of the ratios "
        "of rounds in which the contenders took turns. Below 1 is faster, or smaller, than anomalib's. "
        f"Largest relative difference of scores: {difference:.1e}.\n\n"
        + "\n".join("| " + " | ".join(row) + " |" for row in table)
        + "\n"
    )
    (RESULTS / "deploy_latency.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
