# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.GROUP NAME``: one command for each group of measurements."""

import argparse
from collections.abc import Mapping, Sequence


def chosen(group: str, summaries: Mapping[str, str], arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The first argument, one of some names, and the rest; ``--help`` lists the names.

    Args:
        group: a package of this folder.
        summaries: a name -> what it answers, in one line.
        arguments: of the command line.
    """
    names = [f"  {name:<15}{summary}" for name, summary in summaries.items()]
    parser = parser_of(f"{group}", "What to measure:\n" + "\n".join(names))
    parser.epilog = f"{parser.prog} NAME --help tells the options."
    parser.add_argument("name", metavar="NAME", choices=list(summaries), help="one of the above")
    return parser.parse_args(arguments[:1]).name, list(arguments[1:])


def parser_of(name: str, about: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
