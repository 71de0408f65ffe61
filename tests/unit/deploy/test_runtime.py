# SPDX-License-Identifier: Apache-2.0
"""The runtimes' traps: first calls from several threads, forks, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from anomalib_fsad.deploy import FewShotInferencer
from tests.unit.deploy.pictures import write_normals

ROOT = Path(__file__).parents[3]
PATIENCE = 120
"""Seconds: a process that hangs does so for ever, and a busy machine is slow."""

FORK = """
import os, sys
import numpy as np
from anomalib_fsad.deploy import FewShotInferencer
bundle, saved, backend = sys.argv[1:]
image = np.zeros((20, 20, 3), dtype=np.uint8)
inferencer = FewShotInferencer(bundle, backend=backend)
inferencer.predict(image, inferencer.load(saved))
child = os.fork()
if child == 0:
    try:
        inferencer.predict(image, inferencer.load(saved))
    except RuntimeError as error:
        print(error, flush=True)
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
"""


def start(*command: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)


def predict_in_fresh_processes(count: int, bundle: Path, organ: Path, folder: Path, backend: str) -> None:
    """Two at a time, so that threads are interrupted in odd places."""
    images = write_normals(folder / "images", count=13, first_seed=20)
    command = ["-m", "anomalib_fsad.cli", "predict", bundle, organ, images]
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [[*command, folder / str(job), "--workers=4", f"--backend={backend}"] for job in range(count)]
        list(pool.map(lambda job: start(*job), jobs))
    assert len(list(folder.glob("*/predictions.csv"))) == count


@pytest.mark.parametrize(("backend", "count"), [("openvino", 16), ("onnx", 4)])
def test_predict_does_not_hang_in_its_threads_first_calls(toy, toy_organ, tmp_path, backend, count):
    predict_in_fresh_processes(count, toy.folder, toy_organ, tmp_path, backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_hundred_fresh_processes_do_not_hang(toy, toy_organ, tmp_path, backend):
    predict_in_fresh_processes(100, toy.folder, toy_organ, tmp_path, backend)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_after_a_fork_it_says_to_load_again(toy, toy_organ, backend):
    said = start("-c", FORK, toy.folder, toy_organ, backend).stdout
    assert "after a fork" in said
    assert "make a FewShotInferencer in each process, and fork before the first" in said


def test_several_threads_may_load_at_once(toy, toy_organ):
    def score(_: int) -> float:
        inferencer = FewShotInferencer(toy.folder)
        return inferencer.predict(np.zeros((20, 20, 3), dtype=np.uint8), inferencer.load(toy_organ)).score

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert len(set(pool.map(score, range(8)))) == 1


def test_ctrl_c_ends_predict_and_leaves_no_table_that_looks_finished(toy, toy_organ, tmp_path):
    # A shell starts its background jobs deaf to Ctrl-C, and all that these start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    picture = write_normals(tmp_path / "one", count=1, size=(600, 600)) / "0.png"
    images = tmp_path / "images"
    images.mkdir()
    for place in range(4000):  # more than any machine is through with before it is interrupted
        os.link(picture, images / f"{place}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "anomalib_fsad.cli", "predict", toy.folder, toy_organ, images, out]
    run = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    began = time.monotonic()
    try:
        while not list(out.glob("unfinished/heat_maps/*")) and time.monotonic() - began < PATIENCE:
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=PATIENCE)
    finally:
        run.kill()
        signal.signal(signal.SIGINT, before)
    assert run.returncode == 130
    assert "Traceback" not in said
    assert (
        said.splitlines()[-1] == f"anomalib-fsad predict: interrupted; what was done until then is in {out}/unfinished"
    )
    assert [path.name for path in out.iterdir()] == ["unfinished"]
    assert '"complete": false' in (out / "unfinished/predictions.json").read_text()
