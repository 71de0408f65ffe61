# SPDX-License-Identifier: Apache-2.0
"""The tutorials execute, and the pages that are read are theirs."""

import re

import pytest

from tests.docs.tutorials import TUTORIALS, Cell, cells_of, executed, sources

NAMES = list(sources())


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_of_this_source(name):
    page = (TUTORIALS / f"{name}.md").read_text()
    place = 0
    for cell in cells_of(sources()[name].read_text()):
        text = cell.text if cell.prose else f"```python\n{cell.text}\n```"
        place = page.find(text, place)
        assert place >= 0, f"docs/tutorials/{name}.md is older than {name}.py; run make tutorials. Missing:\n{text}"
    pictures = re.findall(r"\]\((pictures/[^)]+)\)", page)
    assert pictures
    assert all((TUTORIALS / picture).stat().st_size < 400_000 for picture in pictures)
    assert {f"pictures/{path.name}" for path in TUTORIALS.glob(f"pictures/{name}_*")} == set(pictures)


def test_a_tutorial_is_told_from_prose():
    cells = cells_of("licence\n# %% [markdown]\n# # A\n#\n# b\n# %%\nx = 1\n\n# %%\nprint(x)\n")
    assert [cell.prose for cell in cells] == [True, False, False]
    assert cells[0].text == "# A\n\nb"


def test_output_and_figures_follow_their_cell(tmp_path):
    code = (
        "from pathlib import Path\nPath('made').touch()",
        "from matplotlib import pyplot\nprint('said')\npyplot.plot([1])",
    )
    first, second = executed("tiny", [Cell(prose=False, text=text) for text in code], tmp_path)
    assert (first.text, first.figures) == ("", ())
    assert second.text == "said"
    assert [png[1:4] for png in second.figures] == [b"PNG"]
    assert (tmp_path / "made").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_executes(name, tmp_path):
    outputs = list(executed(name, cells_of(sources()[name].read_text()), tmp_path))
    assert sum(len(output.figures) for output in outputs) > 0
