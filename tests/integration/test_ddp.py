# SPDX-License-Identifier: Apache-2.0
"""Two processes train the same model on their shares of the data and measure what one process measures."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from anomalib.engine import Engine

from anomalib_fsad import D24FAD
from tests.integration import ddp_job, dying_job
from tests.integration.conftest import PROJECT


@pytest.mark.cli
def test_two_processes_agree_with_each_other_and_with_one(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    job = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", ddp_job.__name__, tmp_path],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert job.returncode == 0, job.stderr[-4000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["support"] == second["support"]
    assert first["support_sum"] == second["support_sum"]
    assert first["space_weights"] == second["space_weights"]
    assert first["weights_sum"] == pytest.approx(second["weights_sum"], rel=1e-6)
    assert first["metrics"] == pytest.approx(second["metrics"], abs=1e-6)
    assert first["steps"] == 2  # 20 queries of five source organs, in batches of 5, shared by two

    untrained = sum(p.detach().double().sum().item() for p in ddp_job.make_model().model.student.parameters())
    assert first["weights_sum"] != pytest.approx(untrained, rel=1e-6)

    model = D24FAD.load_from_checkpoint(first["checkpoint"], visualizer=False)
    alone = Engine(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path / "alone")
    data = ddp_job.make_data(tmp_path)
    metrics = alone.test(model=model, datamodule=data)[0]
    assert data.support_files == first["support"]
    assert model.model.space_weights.tolist() == first["space_weights"]
    assert model.model.support.images.double().sum().item() == first["support_sum"]
    assert metrics["image_AUROC"] == pytest.approx(first["metrics"]["image_AUROC"], abs=1e-6)
    assert metrics["pixel_AUROC"] == pytest.approx(first["metrics"]["pixel_AUROC"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.cli
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_the_others(tmp_path, rank):
    """With an exit status, within minutes, and with no process left."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", dying_job.__name__, tmp_path, str(rank)]
    with (tmp_path / "said").open("w") as said:
        job = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=said, stderr=said, start_new_session=True)
        try:
            assert job.wait(timeout=300) != 0
            end = time.monotonic() + 60
            while group_lives(job.pid):
                assert time.monotonic() < end, (tmp_path / "said").read_text()[-4000:]
                time.sleep(0.5)
        finally:
            if group_lives(job.pid):
                os.killpg(job.pid, signal.SIGKILL)


def group_lives(process: int) -> bool:
    """Whether any process of a group is there."""
    try:
        os.killpg(process, 0)
    except ProcessLookupError:
        return False
    return True
