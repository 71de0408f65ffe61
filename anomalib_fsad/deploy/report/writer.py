# SPDX-License-Identifier: Apache-2.0
"""Writes a report image by image: what is held in memory of each is a line of its table, not its pictures."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from anomalib_fsad.deploy.report.content import Basis, Finding
from anomalib_fsad.deploy.report.page import page_body
from anomalib_fsad.deploy.report.pictures import heat_uri, mask_uri, picture_uri, side_for
from anomalib_fsad.deploy.report.table import Line
from anomalib_fsad.files import replacing
from anomalib_fsad.html_page import foot, head, packaged


def script_json(content: Any) -> str:
    r"""JSON that cannot end the element it stands in.

    Example:
        >>> script_json({"name": "</script>"})
        '{"name":"\\u003c/script>"}'
    """
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


class Entry(NamedTuple):
    """An image as the file holds it: small, and made in any thread.

    Attributes:
        line: of the table.
        pictures: all else that the page shows of it, as JSON.
    """

    line: Line
    pictures: str


def entry_of(finding: Finding, side: int) -> Entry:
    """What the file holds of an image whose picture has ``side`` pixels; takes most of a report's time."""
    content: dict[str, Any] = {"picture": picture_uri(finding.picture, side)}
    if finding.heat is not None:
        content["heat"] = heat_uri(finding.heat)
    if finding.truth_mask is not None and finding.truth_mask.any():
        content["mask"] = mask_uri(finding.truth_mask)
    if len(finding.weights):
        content["weights"] = [round(float(weight), 4) for weight in finding.weights]
    if finding.nearest is not None:
        content["nearest"] = [finding.nearest.support, *(round(float(edge), 4) for edge in finding.nearest.box)]
    line = Line(finding.name, finding.score, finding.raw_score, finding.label, finding.truth)
    return Entry(line, script_json(content))


class ReportWriter:
    """A report while it is written; see :func:`new_report`.

    Args:
        file: open for writing.
        count: how many images there will be; fixes the size of their pictures.
        title: of the page.
    """

    def __init__(self, file: TextIO, count: int, title: str) -> None:
        self.side = side_for(count)
        self._file = file
        self._title = title
        self._lines: list[Line] = []
        self._unreadable: dict[str, str] = {}
        self._script = packaged(__package__, "report.js")
        file.write(head(title, packaged(__package__, "report.css"), self._script))

    def add(self, entry: Entry) -> None:
        """An image."""
        self._file.write(f'<script type="application/json" id="image-{len(self._lines)}">{entry.pictures}</script>\n')
        self._lines.append(entry.line)

    def add_unreadable(self, name: str, reason: str) -> None:
        """A file that is no readable image."""
        self._unreadable[name] = reason

    def finish(self, basis: Basis) -> None:
        """Write what is known at the end."""
        supports = [_support(support) for support in basis.supports]
        shared = {
            "title": self._title,
            "threshold": basis.threshold,
            "normals": sorted(float(score) for score in basis.normal_scores),
            "normalsAre": basis.normals,
            "supports": supports,
        }
        self._file.write(f'<script type="application/json" id="shared">{script_json(shared)}</script>\n')
        self._file.write(page_body(self._title, self._lines, self._unreadable, basis))
        self._file.write(foot(self._script))


def _support(support: Any) -> Mapping[str, str]:
    picture = {} if support.picture is None else {"picture": picture_uri(support.picture, 160)}
    return {"name": support.name, **picture}


@contextmanager
def new_report(path: Path, count: int, title: str) -> Iterator[ReportWriter]:
    """A report to fill and to finish; its file is there, or replaced, when the context ends without an error.

    Args:
        path: the ``.html`` to write.
        count: how many images there will be.
        title: of the page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, draft.open("w", encoding="utf-8") as file:
        yield ReportWriter(file, count, title)


def check_report_path(path: Path, *, overwrite: bool) -> None:
    """Refuse what is no place for a report."""
    if path.suffix.lower() not in {".html", ".htm"}:
        msg = f"A report is an .html file: {str(path)!r} ends in something else."
        raise ValueError(msg)
    if path.exists() and not overwrite:
        msg = f"The report {str(path)!r} is there already: choose another name, or replace it with --overwrite."
        raise ValueError(msg)
