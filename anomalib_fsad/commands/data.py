# SPDX-License-Identifier: Apache-2.0
"""What a folder of data sets is read as, and what would be wrong with it."""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anomalib_fsad.commands.common import OK

if TYPE_CHECKING:
    from anomalib_fsad.data.preflight import Preflight, Verdict

WRONG = 1

SHOWN = 10
"""How many unreadable files are listed."""

PROTOCOLS = ("episodic", "few_shot", "one_class")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options, named as those of MedicalFewShot."""
    command.epilog = (
        "The exit status is 1 where something is wrong: a set or a file cannot be read, or no protocol (or not the one "
        "asked for) would work for a target."
    )
    command.add_argument("root", type=Path, help="folder of one set or of several")
    command.add_argument("--reader", default="auto", help="auto, or the name of one, for the folder as a whole")
    command.add_argument("--target", help="the category to test on; by default each is tried")
    command.add_argument("--protocol", choices=PROTOCOLS, help="by default each is tried")
    command.add_argument("--source-categories", nargs="+", metavar="CATEGORY", help="what episodic trains on")
    command.add_argument("--k-shot", type=int, default=4, help="number of support images (default: %(default)s)")
    command.add_argument("--support-seed", type=int, default=0, help="which K these are")
    command.add_argument("--few-shot-source", type=Path, metavar="FOLDER", help="folder to take the K from instead")
    command.add_argument("--missing-masks", choices=("raise", "skip", "classification"), default="raise")
    command.add_argument("--decode", action="store_true", help="decode every image and mask, not headers only")
    command.add_argument("--json", action="store_true", help="for other programs")


def run(options: argparse.Namespace) -> int:
    """Print what is found; 1 if something is wrong."""
    from anomalib_fsad.data.preflight import Question, preflight

    question = Question(**{name: getattr(options, name) for name in Question._fields})
    found = preflight(options.root, question, decode=options.decode)
    if options.json:
        sys.stdout.write(json.dumps(as_json(found), indent=2) + "\n")
    else:
        show(found, Console())
    return OK if found.ok else WRONG


def as_json(found: "Preflight") -> dict[str, Any]:
    """The same as plain data."""
    return {
        **found._asdict(),
        "ok": found.ok,
        "categories": [category._asdict() for category in found.categories],
        "unreadable": [{"path": error.path, "reason": error.reason} for error in found.unreadable],
        "verdicts": [{**verdict._asdict(), "works": not verdict.problem} for verdict in found.verdicts],
    }


def show(found: "Preflight", console: Console) -> None:
    """What is read, what would work, then in words what would not, and what is worth knowing."""
    if found.categories:
        console.print(_categories(found), "", _verdicts(found), sep="\n")
    wrong = found.problems + [f"{error.path}: {error.reason}" for error in found.unreadable[:SHOWN]]
    if len(found.unreadable) > SHOWN:
        wrong.append(f"and {len(found.unreadable) - SHOWN} more files that cannot be read")
    notes = [f"{folder}: no known layout, not read" for folder in found.not_read] + found.notes
    notes += _by_target(found, lambda verdict: verdict.notes)
    if found.looked_at < found.images:
        notes.append(f"Looked into {found.looked_at} of {found.images} images; --decode looks into all.")
    for title, style, lines in (
        ("Cannot be read", "red", wrong),
        ("Would not work", "red", _by_target(found, lambda verdict: [verdict.problem] if verdict.problem else [])),
        ("Worth knowing", "yellow", notes),
    ):
        if lines:
            console.print(Text(f"\n{title}", style=f"bold {style}"))
        for line in lines:
            console.print(Text(f"- {line}"), soft_wrap=True)
    verdict = "Each target has a protocol that works." if found.ok else "Something is wrong."
    console.print(Text(f"\n{verdict}", style="bold"))


def _categories(found: "Preflight") -> Table:
    table = _plain_table("category", "read as")
    for name in ("train\nnormal", "test\nnormal", "test\nabnormal", "masks"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("size")
    table.add_column("mode")
    for row in found.categories:
        numbers = (row.train_normal, row.test_normal, row.test_abnormal, row.masks)
        counts = (str(number or "-") for number in numbers)
        table.add_row(Text(row.category), row.reader, *counts, " to\n".join(row.sizes), ", ".join(row.modes))
    return table


def _verdicts(found: "Preflight") -> Table:
    tried = [name for name in PROTOCOLS if any(verdict.protocol == name for verdict in found.verdicts)]
    table = _plain_table("target", *tried)
    for target in dict.fromkeys(verdict.target for verdict in found.verdicts):
        answers = {verdict.protocol: not verdict.problem for verdict in found.verdicts if verdict.target == target}
        words = (Text("works", style="green") if answers[name] else Text("does not", style="red") for name in tried)
        table.add_row(Text(target), *words)
    return table


def _plain_table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def _by_target(found: "Preflight", lines_of: Callable[["Verdict"], list[str]]) -> list[str]:
    """What is said of several targets is said once, with their names."""
    targets: dict[tuple[str, str], list[str]] = defaultdict(list)
    for verdict in found.verdicts:
        for line in lines_of(verdict):
            targets[verdict.protocol, line].append(verdict.target)
    return [f"{protocol}, target {' or '.join(names)}: {line}" for (protocol, line), names in targets.items()]
