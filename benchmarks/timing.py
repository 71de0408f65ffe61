# SPDX-License-Identifier: Apache-2.0
"""How things are timed here: in turns, so that a busy machine slows all alike; medians, and medians of ratios."""

import time
from collections.abc import Callable, Mapping

import pandas as pd
import torch

Work = Callable[[], object]
Measure = Callable[[Work], float]
"""What a piece of work costs: seconds, MiB, or whatever the caller compares."""

MIB = 2**20


def by_the_clock(device: torch.device | str = "cpu") -> Measure:
    """Seconds until a call, and what it started on the device, has ended."""

    def wait() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)

    def seconds(work: Work) -> float:
        wait()
        began = time.perf_counter()
        work()
        wait()
        return time.perf_counter() - began

    return seconds


def processor_time(device: torch.device | str = "cpu") -> Measure:
    """Seconds of the processor's own time, so that its other users do not count; on a GPU, by the clock."""
    if torch.device(device).type == "cuda":
        return by_the_clock(device)

    def seconds(work: Work) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return seconds


def tensor_peak(device: torch.device | str = "cpu") -> Measure:
    """The most MiB that tensors made by a call hold at a time."""

    def on_gpu(work: Work) -> float:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / MIB

    def on_cpu(work: Work) -> float:
        with torch.profiler.profile(profile_memory=True) as profile:
            work()
        held = peak = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                peak = max(peak, held)
        return peak / MIB

    return on_gpu if torch.device(device).type == "cuda" else on_cpu


def its_own_figure(work: Work) -> float:
    """For work that returns what it cost, such as another process that timed itself."""
    return float(work())  # type: ignore[arg-type]


def take_turns(contenders: Mapping[str, Work], rounds: int, measure: Measure, warm_up: int = 1) -> pd.DataFrame:
    """A row for each round, a column for each contender; what warms up does not count.

    Args:
        contenders: by name.
        rounds: how often each takes its turn.
        measure: applied to each turn.
        warm_up: turns of each before the first round.
    """
    for work in contenders.values():
        for _ in range(warm_up):
            work()
    return pd.DataFrame([{name: measure(work) for name, work in contenders.items()} for _ in range(rounds)])


def medians(turns: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """A row for each contender: its ``median``, and ``times_less``: how many times the baseline costs what it costs.

    The latter is the median of the ratios of the rounds, not the ratio of the medians.

    Args:
        turns: of :func:`take_turns`.
        baseline: a contender, if there is one to compare with.
    """
    table = pd.DataFrame({"contender": turns.columns, "median": turns.median().to_numpy()})
    if baseline in turns:
        ratios = turns.rdiv(turns[baseline], axis=0)
        table["times_less"] = ratios.median().to_numpy()
    return table
