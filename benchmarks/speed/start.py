# SPDX-License-Identifier: Apache-2.0
"""Where the time and the memory from nothing to the first prediction go, part by part.

    python -m benchmarks.speed start                                # tf_efficientnet_lite0 at 128 px
    python -m benchmarks.speed start --backbone wide_resnet50_2
    python -m benchmarks.speed start --bundle liver --python box/bin/python   # a bundle, in another environment

Each round is a process of its own. Seconds of the processor say what is computed, whatever else the machine does;
memory is the process's peak until then.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

START = """
import json, os, sys, time
began, marks = time.perf_counter(), []
def mark(what):
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    marks.append((what, time.perf_counter() - began, time.process_time(), int(status["VmHWM"].split()[0]) / 1024))
bundle, enrolment, image, backend = sys.argv[1:]
mark("Python")
import numpy
mark("import numpy")
from anomalib_fsad.deploy.inferencer import FewShotInferencer
mark("import anomalib_fsad.deploy")
__import__({"openvino": "openvino", "onnx": "onnxruntime"}[backend])
mark("import the runtime")
inferencer = FewShotInferencer(bundle, backend=backend)
mark("load, check and compile the graphs")
organ = inferencer.load(enrolment)
mark("load the enrolment")
inferencer.predict(image, organ)
mark("first prediction")
print(json.dumps(marks))
"""


def main(arguments: Sequence[str]) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="of a D24FAD; else one of these options is exported")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--matching", choices=("aligned", "nearest"), default="aligned")
    parser.add_argument("--backend", choices=("openvino", "onnx"), default="openvino")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="whose environment is measured")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle = options.bundle or exported(folder / "bundle", options)
        organ, image = folder / "organ.npz", folder / "image.png"
        enrol(bundle, organ, image)
        command = [options.python, "-c", START, bundle, organ, image, options.backend]
        runs = [json.loads(subprocess.check_output(command, text=True)) for _ in range(options.rounds)]
    sys.stdout.write("| until then | wall, s | processor, s | peak, MiB |\n| --- | --- | --- | --- |\n")
    for part in zip(*runs, strict=True):
        wall, processor, peak = (median(values) for values in list(zip(*part, strict=True))[1:])
        sys.stdout.write(f"| {part[0][0]} | {wall:.2f} | {processor:.2f} | {peak:.0f} |\n")


def exported(folder: Path, options: argparse.Namespace) -> Path:
    """The bundle of an untrained model, which changes no timing."""
    from anomalib_fsad import D24FAD
    from anomalib_fsad.deploy import export

    nearest = {"matching": "nearest", "spaces": ["teacher"], "augment_support": True}
    more = nearest if options.matching == "nearest" else {}
    model = D24FAD(backbone=options.backbone, pre_trained=False, image_size=options.image_size, **more)
    return export(model.eval(), folder, [options.backend]).folder


def enrol(bundle: Path, organ: Path, image: Path) -> None:
    """Four drawn supports, and an image."""
    from anomalib_fsad.deploy import FewShotInferencer

    rng = np.random.default_rng(0)
    inferencer = FewShotInferencer(bundle)
    size = (*inferencer.bundle.metadata.image_size, 3)
    supports = [rng.random(size, dtype=np.float32) for _ in range(4)]
    inferencer.enroll(supports, target_fpr=None, pictures=False).save(organ)
    Image.fromarray((rng.random(size) * 255).astype(np.uint8)).save(image)
