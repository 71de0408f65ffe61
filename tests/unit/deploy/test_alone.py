# SPDX-License-Identifier: Apache-2.0
"""One process at a time, and a dead one never stands in the way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anomalib_fsad.deploy.alone import alone
from anomalib_fsad.files import NAME_BYTES

HOLD = """
import os, sys, time
from pathlib import Path
from anomalib_fsad.deploy.alone import alone
with alone(Path(sys.argv[1])):
    if (child := os.fork()) == 0:
        time.sleep(60)  # as a library's own process may, which outlives ours
    print(child, flush=True)
    time.sleep(60)
"""


def test_a_killed_process_holds_nothing_whatever_its_children_do(tmp_path: Path) -> None:
    file = tmp_path / "organ.npz"
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(ValueError, match=r"organ\.npz' is being written by another process"), alone(file):
                pass
            process.kill()
            process.wait()
            with alone(file):
                assert Path(f"/proc/{child}").exists()
        finally:
            os.kill(child, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_is_locked(tmp_path: Path) -> None:
    with alone(tmp_path / f"{'x' * (NAME_BYTES - 4)}.npz"):
        assert len(list(tmp_path.iterdir())) == 1
