# SPDX-License-Identifier: Apache-2.0
"""One sentence for a mistake in an option, where anomalib's command line shows two hundred lines of traceback.

anomalib's command line has rich draw every uncaught error with the code around it. For an error that says what to do,
that hides the sentence. What we raise on purpose is shown as the sentence and its place; all else is left to rich.
"""

import re
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

MADE_BY = "rich."
"""The package of the hook that anomalib's command line installs."""

DELIBERATE = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError)
"""Kinds of error whose words are meant for the user, when they come from this package."""

UNION = re.compile(r"^Does not validate against any of the Union.*?^Errors:\n(.*)^Given value type:", re.M | re.S)
"""How jsonargparse words an error of a class that it builds: what matters is one of the reasons."""

NOT_GIVEN = "Expected a <class 'NoneType'>"

PACKAGE = str(Path(__file__).parent)


class ShortErrors:
    """A class that has errors shown in short when anomalib's command line constructs it; elsewhere it does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "ShortErrors":  # noqa: ARG004
        """Install the hook; it can not be earlier, since rich's comes after the models are imported."""
        if sys.excepthook.__module__.startswith(MADE_BY):
            sys.excepthook = _Hook(sys.excepthook)
        return super().__new__(cls)


class _Hook:
    """Shows what is meant for the user in a line, and hands on the rest."""

    def __init__(self, otherwise: Any) -> None:
        self.otherwise = otherwise

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        words = in_short(error, trace)
        if words is None:
            self.otherwise(kind, error, trace)
        else:
            sys.stderr.write(f"error: {words}\n")


def in_short(error: BaseException, trace: TracebackType | None) -> str | None:
    """The sentence for the user, or ``None`` if the error is none that was raised on purpose."""
    found = UNION.search(str(error))
    if isinstance(error, ValueError) and found:
        reasons = [" ".join(reason.split()) for reason in re.split(r"^ *- ", found[1], flags=re.M)]
        return " ".join(reason for reason in reasons if reason and reason != NOT_GIVEN)
    frames = traceback.extract_tb(trace)
    if isinstance(error, DELIBERATE) and frames and frames[-1].filename.startswith(PACKAGE):
        place = Path(frames[-1].filename).relative_to(Path(PACKAGE).parent)
        return f"{error} ({place}:{frames[-1].lineno})"
    return None
