# SPDX-License-Identifier: Apache-2.0
"""A few kills of each piece of work; ``python -m tests.faults`` does many."""

import subprocess
import sys

import pytest


def kills(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "tests.faults", "--seed", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[1:]


def test_a_killed_enrolment_or_prediction_is_done_again() -> None:
    lines = kills("enroll", "predict", "--kills", "4")
    assert [line.split(":")[0] for line in lines] == ["enroll", "predict"]
    assert all(line.endswith(" 0 faults") for line in lines)


@pytest.mark.slow
def test_a_killed_training_export_or_cache_is_done_again() -> None:
    assert len(kills("cache", "train", "export", "--kills", "4")) == 3
