# SPDX-License-Identifier: Apache-2.0
"""The table of a report: a line for each image, as HTML and as csv."""

import csv
import html
import io
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anomalib_fsad.deploy.cells import plain_cell
from anomalib_fsad.deploy.report.content import Basis

COLUMNS = ("image", "score", "raw_score", "above_normals", "label", "truth", "outcome", "error")
LABELS = {None: "", False: "normal", True: "anomalous"}
OUTCOMES = {(True, True): "TP", (True, False): "FP", (False, True): "FN", (False, False): "TN"}
WORDS = {
    "TP": "anomalous, and found",
    "FP": "normal, but called anomalous",
    "FN": "anomalous, but missed",
    "TN": "normal, and called so",
}


class Line(NamedTuple):
    """What the table holds of an image."""

    name: str
    score: float
    raw_score: float
    label: bool | None
    truth: bool | None

    @property
    def outcome(self) -> str:
        """``TP``, ``FP``, ``FN`` or ``TN`` where label and truth are known."""
        return "" if self.label is None or self.truth is None else OUTCOMES[self.label, self.truth]


def share_below(value: float, normal_scores: Sequence[float] | np.ndarray) -> float | None:
    """Which share of the normals' scores a score exceeds; ``None`` without normals.

    Example:
        >>> share_below(0.3, [0.1, 0.2, 0.4, 0.5])
        0.5
    """
    return float((np.asarray(normal_scores) < value).mean()) if len(normal_scores) else None


def table_html(lines: Sequence[Line], basis: Basis) -> str:
    """The rows by falling score; the number of each, in the order given, leads to its pictures."""
    titles = ("", "Image", "Score", "Above normals", "Verdict")
    header = "".join(f"<th scope='col'>{title}</th>" for title in titles)
    ordered = sorted(enumerate(lines), key=lambda numbered: -numbered[1].raw_score)
    rows = "".join(_row(number, line, basis) for number, line in ordered)
    return f"<table id='table'><thead><tr>{header}</tr></thead>\n<tbody>{rows}</tbody></table>\n"


def _row(number: int, line: Line, basis: Basis) -> str:
    above = share_below(line.raw_score, basis.normal_scores)
    attributes = {
        "data-number": str(number),
        "data-name": line.name,
        "data-score": f"{line.score:.4f}",
        "data-raw": f"{line.raw_score:.6g}",
        "data-label": LABELS[line.label],
        "data-outcome": line.outcome,
        "data-csv": csv_line(line, basis),
    }
    written = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    share = "" if above is None else f"{100 * above:.0f} %"
    verdict = LABELS[line.label]
    mark = f"<b class='{line.outcome}' title='{WORDS[line.outcome]}'>{line.outcome}</b>" if line.outcome else ""
    return (
        f"<tr {written}><td class='small'><img alt='' width='44' height='44'></td>"
        f"<td class='name'>{html.escape(line.name)}</td><td class='number'>{line.score:.3f}</td>"
        f"<td class='number'>{share}</td><td><span class='verdict {verdict}'>{verdict}</span>{mark}</td></tr>\n"
    )


def csv_line(line: Line, basis: Basis) -> str:
    """The cells of an image, a line with its end."""
    above = share_below(line.raw_score, basis.normal_scores)
    numbers = [f"{line.score:.6f}", f"{line.raw_score:.6g}", "" if above is None else f"{above:.4f}"]
    return _csv([plain_cell(line.name), *numbers, LABELS[line.label], LABELS[line.truth], line.outcome, ""])


def csv_of_unreadable(name: str, reason: str) -> str:
    """The cells of an image that could not be read."""
    return _csv([plain_cell(name), *[""] * (len(COLUMNS) - 2), plain_cell(reason)])


def _csv(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()


def counts(lines: Sequence[Line]) -> dict[str, int]:
    """How many images each filter of the page leaves: by verdict, and by outcome where there is ground truth."""
    labels = Counter(LABELS[line.label] for line in lines if line.label is not None)
    outcomes = Counter(line.outcome for line in lines if line.outcome)
    verdicts = {label: labels[label] for label in ("anomalous", "normal")} if labels else {}
    return {**verdicts, **({name: outcomes[name] for name in WORDS} if outcomes else {})}
