# SPDX-License-Identifier: Apache-2.0
"""What is in a checkpoint, a bundle or an enrolment."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from anomalib_fsad.commands.common import FAILED, OK, say


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
    else:
        # Plain lines: a digest is whole, however narrow the terminal.
        sys.stdout.write(f"{options.path}\n{_text(content)}\n")
    damaged = content.get("damaged", ())
    for fault in damaged:
        say(f"anomalib-fsad inspect: broken file: {fault}", style="red")
    return FAILED if damaged else OK


def _text(content: dict[str, Any], indent: str = "  ") -> str:
    width = max(map(len, content), default=0)
    lines = []
    for name, value in content.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}", _text(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
            lines += [f"{indent}{name}", *(f"{indent}  {entry}" for entry in value)]
        else:
            lines.append(f"{indent}{name:{width}}  {value if value not in (None, {}) else 'none'}")
    return "\n".join(lines)
