# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.speed.growth import exponent, made_of_links, setup_seconds
from benchmarks.speed.startup import seconds


def test_the_exponent_of_a_power() -> None:
    values = pd.Series([1, 2, 4, 8, 16, 32])
    assert exponent(pd.DataFrame({"value": values, "median": 3.0 * values**2})) == pytest.approx(2)


def test_so_many_files_are_set_up(tmp_path: Path) -> None:
    made_of_links(tmp_path, 40)
    assert len(list(tmp_path.rglob("train/good/*.png"))) == 40
    assert setup_seconds(80) > 0


def test_a_process_is_timed_and_must_not_fail() -> None:
    assert seconds(("-S", "-c", "sum(range(10**6))")) > 0
    with pytest.raises(RuntimeError, match="ended with 3"):
        seconds(("-S", "-c", "raise SystemExit(3)"))
