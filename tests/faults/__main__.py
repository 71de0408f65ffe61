# SPDX-License-Identifier: Apache-2.0
"""Kill processes at random moments, and see what they leave: python -m tests.faults [enroll predict ...] [--kills 50].

Each piece of work is done once undisturbed. Then, again and again: it is started anew and killed (SIGKILL), with all
processes that it has started, after a random share of the time that it takes; what lies there is looked at; the same
work is done again, to its end; and what it has made is compared with the undisturbed result, name by name and byte by
byte. A draft that stays is a file too many. What had ended before it was to be killed is not counted.
"""

import argparse
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random

from tests.faults.heavy_steps import HEAVY
from tests.faults.steps import LIGHT, Step
from tests.processes import apart, fork

STEPS: dict[str, type[Step]] = {**LIGHT, **HEAVY}

MISSES = 3
"""Attempts for each kill, at most."""


def main() -> int:
    """Kill, and say how often; the exit status is 1 if something was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("steps", nargs="*", help=f"of {', '.join(STEPS)}; by default all")
    parser.add_argument("--kills", type=int, default=50, help="of each")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    options = parser.parse_args()
    names = options.steps or list(STEPS)
    print(f"--seed {options.seed}", flush=True)
    import_all(names)
    faults = 0
    with tempfile.TemporaryDirectory(prefix="faults_") as root:
        if set(names) & set(LIGHT):
            apart(lambda: write_bundle(Path(root) / "bundle"))
        for name in names:
            faults += attack(name, STEPS[name](), Path(root), options.kills, Random(f"{options.seed} {name}"))
    return 1 if faults else 0


def import_all(names: list[str]) -> None:
    """What the processes will need, so that each of them is there at once; no thread is started by it."""
    for verb in LIGHT:
        import_module(f"anomalib_fsad.commands.{verb}")
    if set(names) - set(LIGHT):
        for module in ("data.cache", "deploy.exporting", "models.d24fad", "commands.compare", "compare.job"):
            import_module(f"anomalib_fsad.{module}")


def write_bundle(folder: Path) -> None:
    """A bundle of toy graphs."""
    from tests.unit.deploy.toy_bundle import write_toy_bundle

    write_toy_bundle(folder)


def attack(name: str, step: Step, root: Path, kills: int, random: Random) -> int:
    """All kills of one piece of work; how many of them went wrong."""
    prepared, place = root / f"{name}_prepared", root / name
    prepared.mkdir()
    apart(lambda: step.prepare(prepared))
    shutil.copytree(prepared, place)
    apart(lambda: step.work(place))
    wanted = step.result(place)
    lasted = min(timed(lambda: apart(lambda: step.work(place)), lambda: renewed(prepared, place)) for _ in range(3))
    killed = attempts = faults = 0
    while killed < kills and attempts < MISSES * kills:
        renewed(prepared, place)
        attempts += 1
        killed += kill(lambda: step.work(place), random.random() * lasted)
        try:
            step.check(place)
            apart(lambda: step.work(place))
            found = step.result(place)
            assert found == wanted, f"{sorted(found.items() ^ wanted.items())}"
        except Exception:
            faults += 1
            traceback.print_exc()
    shutil.rmtree(place)
    print(f"{name}: {killed} killed within {lasted:.1f} s, {faults} faults", flush=True)
    return faults


def renewed(prepared: Path, place: Path) -> None:
    """What a piece of work needs, and nothing else."""
    shutil.rmtree(place)
    shutil.copytree(prepared, place)


def timed(work: Callable[[], None], before: Callable[[], None]) -> float:
    """Seconds of ``work``."""
    before()
    began = time.monotonic()
    work()
    return time.monotonic() - began


def kill(work: Callable[[], None], after: float) -> bool:
    """Whether the process was still at it when it, and all that it has started, was killed."""
    child = fork(work)
    end = time.monotonic() + after
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.001)
    os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main())
