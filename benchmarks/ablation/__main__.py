# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.ablation NAME``: a yaml file of this folder."""

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.command import chosen

FILES = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}


def main(arguments: Sequence[str]) -> None:
    """Run the one that is named."""
    titles = {name: yaml.safe_load(file.read_text())["title"] for name, file in FILES.items()}
    name, rest = chosen("ablation", titles, arguments)
    from benchmarks.ablation.run import main as run

    run(FILES[name], rest)


if __name__ == "__main__":
    main(sys.argv[1:])
