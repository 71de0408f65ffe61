# SPDX-License-Identifier: Apache-2.0
"""The documents of the repository, their fenced blocks, and the commands in these."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]

FENCE = re.compile(r"^( *)```([\w-]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")


class Block(NamedTuple):
    """A fenced block."""

    document: str
    language: str
    text: str


def documents() -> list[str]:
    """What people read, but for what is made: rendered tutorials have a test of their own, and results follow a run."""
    found = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("anomalib_fsad/**/*.md")]
    found += [PROJECT / "benchmarks/README.md"]
    return sorted(str(path.relative_to(PROJECT)) for path in found if not path.with_suffix(".py").exists())


def blocks(document: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a document."""
    found = [Block(document, name, text) for _, name, text in FENCE.findall((PROJECT / document).read_text())]
    return [block for block in found if language is None or block.language == language]


def commands(block: Block) -> list[str]:
    """The commands of a shell block, one a line, without comments and continuations.

    Example:
        >>> commands(Block("x.md", "bash", "# why\\nA=1 make lint && make \\\\\\n  test  # all\\n"))
        ['make lint', 'make test']
    """
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word == "&&":
                found += [shlex.join(words)] if words else []
                words = []
            elif words or not ASSIGNMENT.match(word):
                words.append(word)
    return found


def all_commands() -> list[tuple[str, str]]:
    """Document and command, each command once."""
    first: dict[str, str] = {}
    for document in documents():
        for block in blocks(document, "bash"):
            for command in commands(block):
                first.setdefault(command, document)
    return [(document, command) for command, document in first.items()]


TRIED_AS_A_WHOLE = "docs/your_own_model.md"
"""Its blocks are parts of one module, which the conformance suite runs; see ``test_your_own_model.py``."""


def python_blocks() -> list[Block]:
    """The Python blocks, each once."""
    first: dict[str, Block] = {}
    for document in documents():
        if document == TRIED_AS_A_WHOLE:
            continue
        for block in blocks(document, "python"):
            first.setdefault(block.text, block)
    return list(first.values())
