# SPDX-License-Identifier: Apache-2.0
"""Where results go: a csv with every figure, and a page that tells command, machine and what it means."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from anomalib_fsad.compare.machine import device_name
from anomalib_fsad.compare.page import Block, Heading, Picture, Text, html_page, markdown

RESULTS = Path(__file__).parent / "results"


def add_place(parser: argparse.ArgumentParser, group: str) -> None:
    """The option that says where results go."""
    parser.add_argument("--results", type=Path, default=RESULTS / group, help="folder for csv, md, html and png")


def command(prog: str, arguments: Sequence[str]) -> str:
    """The command that makes these results again, wherever it puts them."""
    given = list(arguments)
    if "--results" in given:
        place = given.index("--results")
        del given[place : place + 2]
    return shlex.join([*prog.split(), *given])


def made_with(call: str, device: torch.device | str = "cpu") -> Text:
    """The line under the title."""
    return Text(f"`{call}` on {device_name(torch.device(device))}, torch {torch.__version__}.")


def write(
    folder: Path, name: str, title: str, rows: pd.DataFrame, blocks: Sequence[Block], figure: Figure | None = None
) -> None:
    """``name.csv``, ``name.md``, ``name.html`` and, with a figure, ``name.png``; the page is printed too."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
    page: list[Block] = [Heading(title, 1), *blocks]
    if figure is not None:
        figure.savefig(folder / f"{name}.png", dpi=110)
        page.append(Picture(folder / f"{name}.png", title))
    (folder / f"{name}.md").write_text(markdown(page, folder))
    (folder / f"{name}.html").write_text(html_page(title, page))
    print(markdown(page, folder))
