# SPDX-License-Identifier: Apache-2.0
"""What a model adds to ``Detector`` stays small: a signature, what is distilled, and little else."""

import ast
from pathlib import Path

import pytest

import anomalib_fsad

FILES = sorted((Path(anomalib_fsad.__file__).parent / "models").glob("*/lightning_model.py"))
MOST = 40


def wiring(file: Path) -> int:
    """Lines of the bodies of a file's methods, without their docstrings, comments and blank lines."""
    source = file.read_text()
    lines = source.splitlines()
    count = 0
    for method in ast.walk(ast.parse(source)):
        if isinstance(method, ast.FunctionDef):
            body = method.body[1:] if ast.get_docstring(method) else method.body
            numbers = [number for part in body for number in range(part.lineno, part.end_lineno + 1)]
            count += sum(
                not lines[number - 1].strip().startswith("#") and bool(lines[number - 1].strip()) for number in numbers
            )
    return count


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_it_is_small(file: Path) -> None:
    assert 10 < wiring(file) <= MOST


def test_every_model_is_looked_at() -> None:
    assert len(FILES) == 3
