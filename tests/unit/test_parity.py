# SPDX-License-Identifier: Apache-2.0
"""The verdict of ``python -m tests.parity``."""

import copy
import json
from pathlib import Path

import pytest

from tests.parity.__main__ import main

FIGURES = Path(__file__).parents[1] / "parity/figures"


@pytest.fixture(scope="module")
def case() -> dict:
    """The first of the scan's cases, which takes no time."""
    return json.loads((FIGURES / "selective_scan.json").read_text())[0]


def test_it_ends_with_0_where_all_figures_hold(case, tmp_path, capsys):
    (tmp_path / "good.json").write_text(json.dumps([case]))
    assert main([str(tmp_path / "good.json")]) == 0
    assert "parity holds" in capsys.readouterr().out


def test_it_ends_with_1_where_a_figure_is_off(case, tmp_path, capsys):
    other = copy.deepcopy(case)
    other["y"]["mean"] += 1e-3 * other["y"]["std"]
    (tmp_path / "bad.json").write_text(json.dumps([case, other]))
    assert main([str(tmp_path / "bad.json")]) == 1
    assert "PARITY FAILED" in capsys.readouterr().out


def test_it_says_what_it_needs(tmp_path, capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
    (tmp_path / "empty.json").write_text("[]")
    assert main([str(tmp_path / "empty.json")]) == 2
    assert "holds no figures" in capsys.readouterr().err
