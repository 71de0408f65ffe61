# SPDX-License-Identifier: Apache-2.0
"""Latency, start-up and memory of the few-shot inferencer beside anomalib's OpenVINOInferencer.

    python -m benchmarks.speed deploy                                 # wide_resnet50_2 at 128 px, as in the paper
    python -m benchmarks.speed deploy --backbone resnet18 --rounds 30

Both run the same D24FAD with the same supports: anomalib's one graph has them inside, the bundle's scorer takes them
as an input. Weights are random, which changes no timing. Start-up is a process of its own: imports, loading, and the
first prediction; memory is its peak.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.speed.subject import Case
from benchmarks.timing import Work, its_own_figure

IMAGE_SIDES = (128, 512)

START = """
import json, sys, time
began = time.perf_counter()
backend, path, image, enrolment = sys.argv[1:]
if backend == "anomalib":
    from anomalib.deploy import OpenVINOInferencer
    OpenVINOInferencer(path, device="CPU").predict(image)
else:
    from anomalib_fsad.deploy import FewShotInferencer
    inferencer = FewShotInferencer(path, backend=backend)
    inferencer.predict(image, inferencer.load(enrolment))
# Not getrusage: a child starts with the peak of the process that forked it.
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
peak = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps({"s": time.perf_counter() - began, "MiB": peak}))
"""

THEIRS = "anomalib OpenVINOInferencer"
OURS = {"bundle on OpenVINO": "openvino", "bundle on onnxruntime": "onnx"}

NOTES = "Each contender has as many threads, and the precision, that its runtime chooses."
BASELINE = THEIRS
ROUNDS = 12


def prepare(folder: Path, options: argparse.Namespace) -> Path:
    """Export both ways, enrol, and draw images; returns anomalib's file."""
    import torch

    from anomalib_fsad import D24FAD
    from anomalib_fsad.deploy import FewShotInferencer, export

    rng, size = np.random.default_rng(0), options.image_size
    support = [rng.random((size, size, 3), dtype=np.float32) for _ in range(options.k_shot)]
    model = D24FAD(k_shot=options.k_shot, backbone=options.backbone, pre_trained=False, image_size=size).eval()
    model.use_support([torch.from_numpy(image).permute(2, 0, 1) for image in support])
    theirs = Path(str(model.to_openvino(folder)))
    export(model, folder / "bundle")
    FewShotInferencer(folder / "bundle").enroll(support).save(folder / "organ.npz")
    for side in IMAGE_SIDES:
        Image.fromarray((rng.random((side, side, 3)) * 255).astype(np.uint8)).save(folder / f"{side}.png")
    return theirs


def score(prediction: Any) -> float:
    """Of either inferencer."""
    return float(np.ravel(getattr(prediction, "pred_score", getattr(prediction, "score", None)))[0])


def start(contender: str, unit: str, theirs: Path, folder: Path) -> float:
    """Seconds or MiB of a fresh process up to its first prediction."""
    backend, path = OURS.get(contender, "anomalib"), theirs if contender == THEIRS else folder / "bundle"
    files = (str(path), str(folder / f"{IMAGE_SIDES[0]}.png"), str(folder / "organ.npz"))
    command = [sys.executable, "-W", "ignore", "-c", START, backend, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])[unit]


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """From a file to its prediction, from nothing to the first prediction, and the memory of that."""
    from anomalib.deploy import OpenVINOInferencer

    from anomalib_fsad.deploy import FewShotInferencer

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        theirs = prepare(folder, options)
        predict = {THEIRS: OpenVINOInferencer(theirs, device="CPU").predict}
        for name, backend in OURS.items():
            inferencer = FewShotInferencer(folder / "bundle", backend=backend)
            predict[name] = partial(inferencer.predict, enrolment=inferencer.load(folder / "organ.npz"))
        for side in IMAGE_SIDES:
            works: dict[str, Work] = {n: partial(call, str(folder / f"{side}.png")) for n, call in predict.items()}
            yield Case({"what": f"{side} x {side} file to prediction"}, works, warm_up=2)
            scores = {name: partial(score, work()) for name, work in works.items()}
            yield Case({"what": f"score of {side} x {side}"}, scores, its_own_figure, "-", warm_up=0)
        for what, unit in (("start to first prediction", "s"), ("peak memory of that", "MiB")):
            works = {name: partial(start, name, unit, theirs, folder) for name in predict}
            yield Case({"what": what}, works, its_own_figure, unit, warm_up=0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model."""
    parser.add_argument("--backbone", default="wide_resnet50_2")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--k_shot", type=int, default=4)
