# SPDX-License-Identifier: Apache-2.0
"""A page of results: paragraphs, tables and pictures, as markdown or as one self-contained HTML file."""

import html
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from anomalib_fsad.html_page import data_uri, foot, head

if TYPE_CHECKING:
    import pandas as pd

NONE = "-"
STYLE = """body { max-width: 70em; margin: 2em auto; padding: 0 1em; }
table { margin: 1em 0; }
td, th { text-align: right; }
td:first-child, th:first-child { text-align: left; }
img { max-width: 100%; background: #fff; }
"""


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


class Block(Protocol):
    """A part of a page."""

    def markdown(self, folder: Path) -> str:
        """For a document in ``folder``."""

    def html(self) -> str:
        """For a file that needs no other."""


class Heading(NamedTuple):
    """A title of a page or a part."""

    words: str
    level: int = 2

    def markdown(self, folder: Path) -> str:
        """See :class:`Block`."""
        del folder
        return f"{'#' * self.level} {self.words}"

    def html(self) -> str:
        """See :class:`Block`."""
        return f"<h{self.level}>{_inline(self.words)}</h{self.level}>"


class Text(NamedTuple):
    """A paragraph, with ``code`` and **emphasis** as in markdown."""

    words: str

    def markdown(self, folder: Path) -> str:
        """See :class:`Block`."""
        del folder
        return self.words

    def html(self) -> str:
        """See :class:`Block`."""
        return f"<p>{_inline(self.words)}</p>"


class Table(NamedTuple):
    """Cells that are written already."""

    header: Sequence[str]
    lines: Sequence[Sequence[str]]

    @classmethod
    def of(cls, frame: "pd.DataFrame", digits: int = 3) -> "Table":
        """A table of a frame's columns, numbers in so many digits."""

        def written(value: object) -> str:
            if isinstance(value, float):
                return NONE if math.isnan(value) else f"{value:.{digits}g}"
            return str(value)

        lines = [[written(value) for value in row] for row in frame.itertuples(index=False)]
        return cls([str(column) for column in frame.columns], lines)

    def markdown(self, folder: Path) -> str:
        """See :class:`Block`."""
        del folder
        return table(self.header, self.lines)

    def html(self) -> str:
        """See :class:`Block`."""
        rows = [_row("th", self.header), *(_row("td", line) for line in self.lines)]
        return f"<table>{''.join(rows)}</table>"


class Picture(NamedTuple):
    """A png."""

    file: Path
    words: str

    def markdown(self, folder: Path) -> str:
        """See :class:`Block`."""
        return f"![{self.words}]({Path(os.path.relpath(self.file, folder)).as_posix()})"

    def html(self) -> str:
        """See :class:`Block`."""
        return _figure(self.file.read_bytes(), self.words)


class Shown(NamedTuple):
    """A png for the HTML page alone: it shows images that a repository may not hold."""

    content: bytes
    words: str

    def markdown(self, folder: Path) -> str:
        """See :class:`Block`."""
        del folder
        return ""

    def html(self) -> str:
        """See :class:`Block`."""
        return _figure(self.content, self.words)


def markdown(blocks: Sequence[Block], folder: Path) -> str:
    """The blocks as a markdown document that lies in ``folder``."""
    return "\n\n".join(filter(None, (block.markdown(folder) for block in blocks))) + "\n"


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as one HTML file, pictures inside.

    Example:
        >>> "<td>60.2</td>" in html_page("Results", [Table(["model", "AUROC"], [["Padim", "60.2"]])])
        True
    """
    body = "\n".join(block.html() for block in blocks)
    return f"{head(title, STYLE)}{body}\n{foot()}"


def _figure(content: bytes, words: str) -> str:
    words = html.escape(words)
    image = f'<img alt="{words}" src="{data_uri(content, "image/png")}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _inline(words: str) -> str:
    """Code, emphasis and everything else as it stands."""
    escaped = html.escape(words, quote=False)
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", re.sub(r"`(.+?)`", r"<code>\1</code>", escaped))
