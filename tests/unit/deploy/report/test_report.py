# SPDX-License-Identifier: Apache-2.0
"""What the file holds: all of it, nothing else, and nothing that a name could break."""

import base64
import csv
import io
import json
import resource
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_fsad.deploy.report import entry_of, new_report
from anomalib_fsad.deploy.report.pictures import heat_uri, picture_uri, side_for
from anomalib_fsad.deploy.report.table import COLUMNS
from tests.unit.deploy.report.findings import ENDING, FORMULA, NAMES, NASTY, basis, finding, write


class Page(HTMLParser):
    """The elements of a page as a browser would make them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[int, str] = {}
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts[len(self.elements) - 1] = self.texts.get(len(self.elements) - 1, "") + data

    def all(self, tag, **wanted):
        wanted = {name.replace("_", "-"): value for name, value in wanted.items()}
        return [e for t, e in self.elements if t == tag and wanted.items() <= e.items()]

    def json(self, name):
        place = next(k for k, (_, attributes) in enumerate(self.elements) if attributes.get("id") == name)
        return json.loads(self.texts[place])

    @property
    def rows(self):
        return [e for e in self.all("tr") if "data-number" in e]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return Page(write(tmp_path_factory.mktemp("report") / "report.html", (True, False, True, False, None)))


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_rows_are_sorted_and_lead_to_their_pictures(page):
    scores = [float(row["data-score"]) for row in page.rows]
    assert scores == sorted(scores, reverse=True)
    assert [row["data-name"] for row in page.rows] == list(NAMES)
    for row in page.rows:
        image = page.json(f"image-{row['data-number']}")
        assert decoded(image["picture"]).shape[:2] == (90, 120)
        assert (decoded(image["heat"]) >= 128).any() == (row["data-label"] == "anomalous")
        assert image["weights"] == [0.7, 0.3]
        assert image["nearest"] == [1, 0.25, 0.5, 0.5, 0.75]
    assert [support["name"] for support in page.json("shared")["supports"]] == ["normal 1.png", NASTY]


def test_nothing_in_a_name_becomes_part_of_the_page(page):
    assert [script for script in page.all("script") if "type" not in script] == [{}]
    assert not [e for _, e in page.elements if "onerror" in e or e.get("src") == "x"]
    assert len(page.all("script", type="application/json")) == len(NAMES) + 1
    policy = page.all("meta", http_equiv="Content-Security-Policy")[0]["content"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_nothing_outside_of_the_file_is_named(page):
    addresses = [value for _, e in page.elements for name, value in e.items() if name in {"src", "href", "srcset"}]
    assert addresses == []


def test_ground_truth_makes_a_confusion(page):
    assert [row["data-outcome"] for row in page.rows] == ["TP", "FP", "FN", "TN", ""]
    assert {b["data-filter"] for b in page.all("button") if "data-filter" in b} == {
        *("", "anomalous", "normal", "TP", "FP", "FN", "TN")
    }
    assert "mask" in page.json("image-0")
    assert "mask" not in page.json("image-1")


def test_without_ground_truth_there_is_none(tmp_path):
    page = Page(write(tmp_path / "report.html"))
    assert {row["data-outcome"] for row in page.rows} == {""}
    assert {b["data-filter"] for b in page.all("button") if "data-filter" in b} == {"", "anomalous", "normal"}


def test_the_csv_is_one_and_no_cell_of_it_a_formula(page):
    lines = [page.all("footer")[0]["data-columns"] + "\r\n", *(row["data-csv"] for row in page.rows)]
    lines += [e["data-csv"] for e in page.all("li") if "data-csv" in e]
    rows = list(csv.DictReader(io.StringIO("".join(lines))))
    assert rows[0].keys() == set(COLUMNS)
    names = [row["image"] for row in rows]
    assert names == ["a.png", "below/b.dcm", NASTY, f"'{FORMULA}", ENDING, f"{NASTY}.dcm"]
    assert [row["above_normals"] for row in rows] == ["1.0000", "0.7500", "0.7500", "0.5000", "0.2500", ""]
    assert rows[-1]["error"] == "it is <damaged>"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_it_says_what_it_rests_on(page):
    words = " ".join(page.texts.values())
    for said in (
        *("leave-one-out of 4 normal images <here>", "a guess", "b" * 64, "drift 1.00: <other> images"),
        *("it is <damaged>", "this is no medical device", "5 images, 1 unreadable"),
    ):
        assert said in words


def test_pictures_shrink_with_their_number():
    sides = [side_for(count) for count in (1, 200, 201, 3000)]
    assert sides == sorted(sides, reverse=True)
    wide = np.zeros((100, 4000, 3), dtype=np.float32)
    assert decoded(picture_uri(wide, 512)).shape == (13, 512)
    colour = wide + np.array([0.9, 0.1, 0.1], dtype=np.float32)
    assert decoded(picture_uri(colour, 512)).shape == (13, 512, 3)


def test_a_map_keeps_its_side_of_the_threshold():
    values = np.linspace(0, 1, 1001)[None]
    grey = decoded(heat_uri(values[:, :96]))
    assert grey.max() < 124
    for value, above in ((0.499, False), (0.5, True), (1.0, True)):
        assert (decoded(heat_uri(np.full((8, 8), value))) >= 128).all() == above


def test_a_report_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_thousands_of_images_cost_little_memory_and_a_file_that_can_be_sent(tmp_path):
    """No picture is held: what grows with the number is the line of the table."""
    entry = entry_of(finding(0, "a.png"), side_for(3000))
    with new_report(tmp_path / "report.html", 3000, "many") as page:
        for _ in range(3000):
            page.add(entry)
        held = sum(len(repr(line)) for line in page._lines)
        page.finish(basis())
    assert held < 1_000_000
    assert (tmp_path / "report.html").stat().st_size < 3000 * (len(entry.pictures) + 2000)


def test_no_torch_is_needed():
    code = "import sys, anomalib_fsad.deploy.report; print({'torch', 'anomalib', 'pandas'} & set(sys.modules))"
    root = Path(__file__).parents[4]
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root).stdout
    assert said.strip() == "set()"
