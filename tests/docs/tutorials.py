# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.docs.tutorials [NAME ...]``: execute docs/tutorials/NAME.py and write the page NAME.md beside it.

A tutorial is a notebook as text: cells begin with ``# %%``, or with ``# %% [markdown]`` where they are prose. What a
cell prints and the matplotlib figures that it leaves open follow it on the page.
"""

import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import NamedTuple

TUTORIALS = Path(__file__).parents[2] / "docs/tutorials"

CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


class Cell(NamedTuple):
    """Prose, or code."""

    prose: bool
    text: str


class Output(NamedTuple):
    """What a cell printed, and its figures as PNG."""

    text: str = ""
    figures: tuple[bytes, ...] = ()


def sources() -> dict[str, Path]:
    """Name -> file of every tutorial."""
    return {path.stem: path for path in sorted(TUTORIALS.glob("*.py"))}


def cells_of(source: str) -> list[Cell]:
    """The cells of a file in percent form; what stands before the first is none.

    Example:
        >>> cells_of("# %% [markdown]\\n# # Title\\n#\\n# Text.\\n\\n# %%\\nprint(1)\\n")
        [Cell(prose=True, text='# Title\\n\\nText.'), Cell(prose=False, text='print(1)')]
    """
    _, *parts = CELL.split(source)
    cells = []
    for header, body in zip(parts[::2], parts[1::2], strict=True):
        prose = "[markdown]" in header
        text = re.sub(r"^# ?", "", body, flags=re.MULTILINE) if prose else body
        cells.append(Cell(prose, text.strip()))
    return cells


def executed(name: str, cells: Sequence[Cell], folder: Path) -> Iterator[Output]:
    """Run the code, cell by cell, in one namespace and with ``folder`` as the working directory."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    namespace = {"__name__": "__main__"}
    for cell in cells:
        if cell.prose:
            yield Output()
            continue
        printed = io.StringIO()
        with chdir(folder), redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(cell.text, f"{name}.py", "exec"), namespace)
        figures = []
        for number in plt.get_fignums():
            png = io.BytesIO()
            plt.figure(number).savefig(png, format="png", dpi=90, bbox_inches="tight")
            figures.append(png.getvalue())
        plt.close("all")
        text = printed.getvalue().replace(f"{folder.resolve()}/", "")
        yield Output(text.strip(), tuple(figures))


def page(name: str, cells: Sequence[Cell], outputs: Sequence[Output]) -> tuple[str, dict[str, bytes]]:
    """The page, and its pictures by their path relative to it."""
    made = f"<!-- Made from {name}.py by `make tutorials`. -->"
    blocks, pictures = [made], {}
    for cell, output in zip(cells, outputs, strict=True):
        blocks.append(cell.text if cell.prose else f"```python\n{cell.text}\n```")
        if output.text:
            blocks.append(f"```text\n{output.text}\n```")
        for png in output.figures:
            path = f"pictures/{name}_{len(pictures) + 1}.png"
            pictures[path] = png
            blocks.append(f"![figure {len(pictures)}]({path})")
    return "\n\n".join(blocks) + "\n", pictures


def render(name: str) -> None:
    """Execute a tutorial and write its page and pictures."""
    cells = cells_of(sources()[name].read_text())
    with tempfile.TemporaryDirectory() as folder:
        outputs = list(executed(name, cells, Path(folder)))
    text, pictures = page(name, cells, outputs)
    (TUTORIALS / "pictures").mkdir(exist_ok=True)
    for old in (TUTORIALS / "pictures").glob(f"{name}_*.png"):
        old.unlink()
    for path, png in pictures.items():
        (TUTORIALS / path).write_bytes(png)
    (TUTORIALS / f"{name}.md").write_text(text)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a tutorial that needs a hub is none for everybody
    for tutorial in sys.argv[1:] or sources():
        render(tutorial)
        print(f"docs/tutorials/{tutorial}.md")
