# SPDX-License-Identifier: Apache-2.0
"""What a reader does with a report, in a real headless browser."""

import csv
import time

import pytest

from tests.browser import PATH, Browser
from tests.unit.deploy.report.findings import ENDING, FORMULA, NAMES, NASTY, TITLE, write

pytestmark = pytest.mark.skipif(PATH is None, reason="no Chromium is installed")

CHOSEN = "document.querySelector('[aria-selected=true]').dataset.name"
SHOWN = "[...document.querySelectorAll('#table tbody tr')].filter((row) => !row.hidden).length"
DRAWN = "document.getElementById('overlay').width > 300"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("report") / "report.html", (True, False, True, False, None))
    with Browser() as browser:
        browser.open(path)
        browser.wait(DRAWN)
        yield browser


def colours(browser, red, green, blue):
    """How many pixels of the overlay have this colour."""
    return browser.run(
        "(() => { const c = document.getElementById('overlay'); "
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; "
        f"for (let i = 0; i < d.length; i += 4) n += d[i] === {red} && d[i + 1] === {green} && d[i + 2] === {blue}; "
        "return n; })()"
    )


def test_names_are_text_and_nothing_is_fetched(browser):
    assert browser.run("document.title") == TITLE
    names = browser.run("[...document.querySelectorAll('td.name')].map((cell) => cell.textContent)")
    assert names == list(NAMES)
    assert {address.partition(":")[0] for address in browser.requests} <= {"file", "data"}
    assert len([address for address in browser.requests if address.startswith("file")]) == 1


def test_keys_go_through_the_images(browser):
    browser.press("Home")
    assert browser.run(CHOSEN) == "a.png"
    for key, name in (("ArrowDown", NAMES[1]), ("j", NASTY), ("k", NAMES[1]), ("End", ENDING), ("j", ENDING)):
        browser.press(key)
        assert browser.run(CHOSEN) == name
        assert browser.run("document.getElementById('name').textContent") == name
    browser.press("Home")
    browser.wait(DRAWN)


def test_overlay_contour_and_ground_truth_are_drawn(browser):
    browser.press("Home")
    browser.wait("document.getElementById('picture').naturalWidth === 120")
    contour, truth = (34, 211, 238), (124, 240, 106)
    browser.wait("document.getElementById('truth').hidden === false")
    time.sleep(0.3)
    assert colours(browser, *contour) > 500
    assert colours(browser, *truth) > 500
    browser.press("c")
    assert colours(browser, *contour) == 0
    browser.press("c")
    strongest = "Math.max(...document.getElementById('overlay').getContext('2d').getImageData(320, 200, 1, 1).data)"
    assert browser.run(strongest) > 0
    browser.press("o")
    assert browser.run("document.getElementById('percent').textContent") == "0 %"
    assert browser.run(strongest.replace("Math.max(...", "(").replace(".data)", ".data[3])")) == 0
    browser.press("o")


def test_what_is_said_of_an_image(browser):
    browser.press("Home")
    browser.press("j")
    said = browser.run("document.getElementById('facts').innerText")
    assert "but it is normal (FP)" in said
    assert "Higher than 3 of 4 normals (75 %): the 4 enrolled normal images." in said
    assert "raw score 0.08, threshold 0.05000" in said
    supports = browser.run("[...document.querySelectorAll('#supports li')].map((item) => item.title)")
    assert supports == ["normal 1.png", NASTY]
    box = browser.run("document.querySelector('#supports li:nth-child(2) .box').getAttribute('style')")
    assert box == "left: 25%; top: 50%; width: 25%; height: 25%;"


def test_filters(browser):
    for kind, count in (("FP", 1), ("normal", 3), ("", 5)):
        browser.run(f"document.querySelector('[data-filter=\"{kind}\"]').click()")
        assert browser.run(SHOWN) == count
    browser.press("/")
    for letter in "below":
        browser.press(letter)
    assert browser.run(SHOWN) == 1
    assert browser.run(CHOSEN) == "below/b.dcm"
    browser.press("Escape")
    browser.run(
        "(() => { const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input')) })()"
    )
    assert browser.run(SHOWN) == 5


def test_the_csv_that_is_saved_is_of_the_images_that_are_shown(browser):
    browser.run("document.querySelector('[data-filter=normal]').click()")
    browser.run("document.getElementById('csv').click()")
    end = time.monotonic() + 10
    while not (browser.downloads / "report.csv").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    with (browser.downloads / "report.csv").open(newline="", encoding="utf-8") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert names == [NASTY, f"'{FORMULA}", ENDING, f"{NASTY}.dcm"]
    browser.run("document.querySelector('[data-filter=\"\"]').click()")


def test_light_and_dark(browser):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(ground) != light
    browser.run("document.getElementById('theme').click()")
    assert browser.run(ground) == light
