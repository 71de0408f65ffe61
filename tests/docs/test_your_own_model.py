# SPDX-License-Identifier: Apache-2.0
"""The page that builds a fourth model has the code of the one that the conformance suite trains and exports."""

import ast
import re

from tests.docs.documents import PROJECT, blocks


def test_its_code_is_that_of_the_toy() -> None:
    toy = (PROJECT / "tests/conformance/toy.py").read_text()
    *code, line = (block.text.strip() for block in blocks("docs/your_own_model.md", "python"))
    assert len(code) == 3
    rest = toy
    for block in code:
        assert block in toy
        rest = rest.replace(block, "")
    assert not [line for line in rest.splitlines() if line and not line.startswith(("#", '"""'))]
    assert "tests.conformance.toy" in line


def test_its_counts_are_true() -> None:
    *code, _ = (block.text for block in blocks("docs/your_own_model.md", "python"))
    page = (PROJECT / "docs/your_own_model.md").read_text()
    lines = sum(bool(line.strip()) for block in code for line in block.splitlines())
    assert int(re.search(r"\| (\d+), imports among them \|", page)[1]) == lines
    (detector,) = ast.parse(code[2]).body
    constructor = next(part for part in detector.body if getattr(part, "name", "") == "__init__")
    wiring = constructor.end_lineno - constructor.body[0].lineno + 1
    assert int(re.search(r"the body of the constructor \| \| (\d+) \|", page)[1]) == wiring
