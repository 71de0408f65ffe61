# SPDX-License-Identifier: Apache-2.0
"""Names of files, made harmless for those who read a table of them."""

import os
from pathlib import PurePath

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would compute."""


def shown(path: PurePath) -> str:
    """A path as text that can be written: what is no Unicode in it is replaced.

    Example:
        >>> shown(PurePath("a", "b.png"))
        'a/b.png'
    """
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def plain_cell(text: str) -> str:
    """Text for a csv: with an apostrophe before what a spreadsheet would take for a formula.

    Example:
        >>> plain_cell("=HYPERLINK(1)"), plain_cell("scan-1.png")
        ("'=HYPERLINK(1)", 'scan-1.png')
    """
    return f"'{text}" if text.startswith(FORMULA) else text
