# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.GROUP NAME``: one command for each group of measurements."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module


def dispatch(group: str, summaries: Mapping[str, str], arguments: Sequence[str] | None = None) -> int:
    """Call the ``main`` of ``benchmarks.<group>.<name>``; nothing else is imported.

    Args:
        group: a package of this folder.
        summaries: name of a module -> what it answers, in one line.
        arguments: of the command line; the process's by default.

    Returns:
        The exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{group}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["names:", *(f"  {name:<15}{summary}" for name, summary in summaries.items())])
        + f"\n\npython -m benchmarks.{group} NAME --help tells the options.",
    )
    parser.add_argument("name", metavar="NAME", choices=summaries, help="what to measure")
    options = parser.parse_args(given[:1])
    return import_module(f"benchmarks.{group}.{options.name}").main(given[1:]) or 0
