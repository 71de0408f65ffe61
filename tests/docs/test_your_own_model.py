# SPDX-License-Identifier: Apache-2.0
"""The page that builds a fourth model has the code of the one that the conformance suite trains and exports."""

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
