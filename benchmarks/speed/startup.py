# SPDX-License-Identifier: Apache-2.0
"""How long it takes to start: our command, our imports, and anomalib's command with this package known to it or not."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.speed.subject import Case
from benchmarks.timing import its_own_figure

NOTES = (
    "Processor time of a fresh process, Python's own start included (`python -c pass`); files were read before. "
    "*without us*: `ANOMALIB_FSAD_AUTOLOAD=0`."
)
BASELINE = "python -c pass"

COMMANDS: dict[str, Sequence[str]] = {
    BASELINE: ("-c", "pass"),
    "import anomalib_fsad": ("-c", "import anomalib_fsad"),
    "import anomalib_fsad.deploy": ("-c", "import anomalib_fsad.deploy"),
    "anomalib-fsad --help": ("-m", "anomalib_fsad.cli", "--help"),
}
WITHOUT = {"ANOMALIB_FSAD_AUTOLOAD": "0"}


def seconds(arguments: Sequence[str], variables: dict[str, str] | None = None) -> float:
    """Processor time of ``python arguments``, which must not fail."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", *arguments],
        env={**os.environ, **(variables or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"python {' '.join(arguments)} ended with {process.returncode}."
        raise RuntimeError(msg)
    return usage.ru_utime + usage.ru_stime


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Ours, and anomalib's own command with and without us."""
    works = {name: partial(seconds, arguments) for name, arguments in COMMANDS.items()}
    yield Case({"what": "ours"}, works, its_own_figure, "s")
    if options.anomalib is not None:
        command = (str(options.anomalib), "train", "--help")
        works = {"without us": partial(seconds, command, WITHOUT), "with us": partial(seconds, command)}
        yield Case({"what": "anomalib train --help"}, works, its_own_figure, "s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where anomalib's command is."""
    script = Path(sys.executable).with_name("anomalib")
    parser.add_argument("--anomalib", type=Path, default=script, help="anomalib's own command")
