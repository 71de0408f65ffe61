# SPDX-License-Identifier: Apache-2.0
import argparse
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from benchmarks.speed.subject import Case, measure
from benchmarks.timing import by_the_clock, its_own_figure, medians, processor_time, take_turns, tensor_peak


def test_contenders_take_turns_after_warming_up():
    order = []
    works = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    turns = take_turns(works, 2, its_own_figure)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert turns.to_dict("list") == {"a": [3, 5], "b": [4, 6]}


def test_the_median_of_ratios_is_not_the_ratio_of_medians():
    turns = pd.DataFrame({"slow": [10.0, 100.0, 30.0], "fast": [5.0, 10.0, 30.0]})
    table = medians(turns, "slow").set_index("contender")
    assert table["median"].to_dict() == {"slow": 30, "fast": 10}
    assert table["times_less"].to_dict() == {"slow": 1, "fast": 2}
    assert "times_less" not in medians(turns, "not measured")


@pytest.mark.parametrize("clock", [by_the_clock(), processor_time()])
def test_a_call_costs_time(clock):
    assert clock(lambda: torch.rand(200, 200) @ torch.rand(200, 200)) > 0


def test_the_peak_counts_what_is_alive_together():
    def two_after_another():
        for _ in range(2):
            torch.ones(256, 1024)

    assert tensor_peak()(two_after_another) == pytest.approx(1, rel=0.01)


@pytest.fixture
def subject():
    def cases(options):
        works = {"ours": lambda: options.cost, "theirs": lambda: 8.0}
        yield Case({"what": "step"}, works, its_own_figure, "s", images={"ours": 1, "theirs": 2}, warm_up=0)
        yield Case({"what": "score"}, works, its_own_figure, "-", warm_up=0)

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--cost", type=float, default=2.0)

    return SimpleNamespace(
        __doc__="A toy.", NOTES="A note.", BASELINE="theirs", cases=cases, add_arguments=add_arguments
    )


def test_a_page_keeps_the_rows_of_other_options(subject, tmp_path):
    place = ["--results", str(tmp_path)]
    measure("toy", subject, place)
    first = (tmp_path / "toy.md").read_text()
    assert "`python -m benchmarks.speed toy` on " in first
    assert "| step | s | 2 (2.00) | 4 (1.00) |" in first
    assert "| score | - | 2 | 8 |" in first  # what is no cost is not compared
    measure("toy", subject, [*place, "--cost", "1"])
    measure("toy", subject, [*place, "--cost", "1"])
    text = (tmp_path / "toy.md").read_text()
    assert "toy --cost 1` on" in text
    assert "| 2.0 | step | s | 2 (2.00) | 4 (1.00) |" in text
    assert text.count("| 1.0 | step | s | 1 (4.00) | 4 (1.00) |") == 1
    assert {file.name for file in tmp_path.iterdir()} == {"toy.csv", "toy.md", "toy.html", "toy.png"}
