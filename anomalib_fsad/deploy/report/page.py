# SPDX-License-Identifier: Apache-2.0
"""The visible part of a report, as HTML; what it shows of a chosen image is filled in by ``report.js``."""

import html
from collections.abc import Mapping, Sequence

from anomalib_fsad.deploy.report.content import Basis
from anomalib_fsad.deploy.report.table import COLUMNS, WORDS, Line, counts, csv_of_unreadable, table_html

PURPOSE = "For research only: this is no medical device, and no finding here is a diagnosis."

KEYS = (
    ("↓ ↑ or j k", "next and previous image"),
    ("Home End", "first and last"),
    ("o", "overlay on and off"),
    ("c", "contour on and off"),
    ("/", "filter by name"),
)

VIEWER = """<section id="viewer" aria-label="Chosen image">
<figure>
<div id="stage"><img id="picture" alt=""><canvas id="overlay"></canvas></div>
<figcaption class="controls">
<label>Overlay <input id="opacity" type="range" min="0" max="100" value="45"> <output id="percent">45 %</output></label>
<label><input id="contour" type="checkbox" checked> <i class="swatch line"></i> contour at {contour}</label>
<label id="truth" hidden><input id="outline" type="checkbox" checked> <i class="swatch truth"></i> ground truth</label>
</figcaption>
</figure>
<div id="facts">
<h2 id="name"></h2>
<p id="verdict"></p>
<p id="scores"></p>
<svg id="strip" role="img" viewBox="0 0 400 64"></svg>
<p id="place"></p>
<div id="compared" hidden><h3>Compared with</h3><ol id="supports"></ol><p id="rest"></p></div>
</div>
</section>
"""


def page_body(title: str, lines: Sequence[Line], unreadable: Mapping[str, str], basis: Basis) -> str:
    """Everything between the pictures and the script."""
    return (
        f"{_header(title, lines, unreadable, basis)}<main>\n<section id='list' aria-label='Images'>\n"
        f"{table_html(lines, basis)}<p id='nothing' hidden>No image is left by this filter.</p>\n"
        f"{_unreadable(unreadable)}</section>\n"
        f"{VIEWER.format(contour=html.escape(basis.contour))}</main>\n{_about(basis)}"
    )


def _header(title: str, lines: Sequence[Line], unreadable: Mapping[str, str], basis: Basis) -> str:
    warnings = "".join(f"<p class='warning' role='alert'>{html.escape(warning)}</p>\n" for warning in basis.warnings)
    what = f"{len(lines):,} images" + (f", {len(unreadable):,} unreadable" if unreadable else "")
    return (
        f"<header><div><h1>{html.escape(title)}</h1><p>{what}. <b>{PURPOSE}</b></p></div>\n"
        "<div class='tools'>"
        "<input id='search' type='search' placeholder='Filter by name' aria-label='Filter by name'>\n"
        f"<span id='filters' role='group' aria-label='Filter by verdict'>{_filters(lines)}</span>\n"
        "<button id='csv' type='button' title='the images that are shown, as a table'>Save csv</button>\n"
        "<button id='theme' type='button' aria-label='Light or dark' title='Light or dark'>◐</button></div>\n"
        f"{warnings}</header>\n"
    )


def _filters(lines: Sequence[Line]) -> str:
    buttons = [("", "All", len(lines), "")]
    buttons += [(name, name.capitalize() if name not in WORDS else name, count, WORDS.get(name, ""))
                for name, count in counts(lines).items()]  # fmt: skip
    return "".join(
        f"<button type='button' data-filter='{value}' aria-pressed='{'false' if value else 'true'}' title='{words}'>"
        f"{name} <b>{count:,}</b></button>"
        for value, name, count, words in buttons
    )


def _unreadable(unreadable: Mapping[str, str]) -> str:
    if not unreadable:
        return ""
    items = "".join(
        f'<li data-csv="{html.escape(csv_of_unreadable(name, reason))}"><b>{html.escape(name)}</b> '
        f"{html.escape(reason)}</li>\n"
        for name, reason in unreadable.items()
    )
    return (
        f"<details id='unreadable' open><summary>{len(unreadable):,} unreadable</summary><ul>\n{items}</ul></details>\n"
    )


def _about(basis: Basis) -> str:
    threshold = "none" if basis.threshold is None else f"{basis.threshold:.6g} on raw scores"
    facts = {"Threshold": threshold, "Where it comes from": basis.source, "Its limits": basis.caution}
    facts |= {"Normals": basis.normals, **basis.facts}
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>\n" for name, value in facts.items() if value
    )
    keys = "".join(f"<dt><kbd>{name}</kbd></dt><dd>{does}</dd>\n" for name, does in KEYS)
    return (
        f'<footer data-columns="{html.escape(",".join(COLUMNS))}"><section><h2>What this rests on</h2><dl>\n{rows}</dl>'
        f"</section>\n<section><h2>Keys</h2><dl>\n{keys}</dl><p><b>{PURPOSE}</b></p></section></footer>\n"
    )
