# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.parity GOLDEN.json``: compare our models with the figures of the authors' code.

Prints quantity, deviation and verdict, and ends with 1 where a tolerance is exceeded.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from tests.parity.golden import Report


def kind(case: dict[str, Any]) -> str:
    """Which of the modules beside this one knows such figures."""
    if "y" in case and "L" in case:
        return "selective_scan"
    if "shots" in case:
        return "d24fad"
    return "scrd4ad" if "pull_per_scale" in case["eval"] else "pdd"


def report(case: dict[str, Any]) -> Report:
    """Run one case through our model."""
    return importlib.import_module(f"tests.parity.{kind(case)}").check(case)


def main(arguments: list[str]) -> int:
    """Print a report a case; 0 if all hold."""
    if not arguments:
        print("usage: python -m tests.parity GOLDEN.json [...]", file=sys.stderr)
        return 2
    passed = True
    for path in map(Path, arguments):
        cases = json.loads(path.read_text())
        if not cases:
            print(f"{path} holds no figures.", file=sys.stderr)
            return 2
        for case in cases:
            result = report(case)
            print("\n".join(result.lines()), flush=True)
            passed &= result.passed
    print("parity holds" if passed else "PARITY FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
