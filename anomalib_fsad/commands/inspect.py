# SPDX-License-Identifier: Apache-2.0
"""What is in a checkpoint, a bundle or an enrolment."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anomalib_fsad.commands.common import OK


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("path", type=Path)
    command.add_argument("--json", action="store_true", help="for other programs")


def run(options: argparse.Namespace) -> int:
    """Print what is in a file or folder."""
    from anomalib_fsad.deploy.inspection import inspect_path

    content = inspect_path(options.path)
    if options.json:
        sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")
        return OK
    table = Table(show_header=False, title=Text(str(options.path)))
    for name, value in content.items():
        table.add_row(name, Text(_text(value)))
    Console().print(table)
    return OK


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_text(entry)}" for name, entry in value.items())
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return "\n".join(value)
    return "none" if value is None else str(value)
