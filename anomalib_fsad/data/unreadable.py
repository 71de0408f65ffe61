# SPDX-License-Identifier: Apache-2.0
"""Going through many image files and saying, all at once, which of them cannot be read."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import track

from anomalib_fsad.images.decoding import ImageReadError

PROGRESS_FROM = 500
"""Number of images from which a progress bar is shown."""

SKIP_HINT = "Replace or remove it, or pass --data.on_error skip to leave unreadable images out."


def failures(work: Callable[[str], None], paths: Sequence[str], title: str) -> list[ImageReadError]:
    """Do ``work`` on each path in threads (decoders let go of the interpreter) and collect what could not be read."""

    def attempt(path: str) -> ImageReadError | None:
        try:
            work(path)
        except ImageReadError as error:
            return error
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        shown: Iterable[ImageReadError | None] = pool.map(attempt, paths)
        if len(paths) >= PROGRESS_FROM:
            shown = track(shown, title, total=len(paths), transient=True, console=Console(stderr=True))
        return [error for error in shown if error is not None]


def raise_unreadable(errors: Sequence[ImageReadError]) -> None:
    """One message for all of them."""
    if not errors:
        return
    if len(errors) == 1:
        raise ImageReadError(errors[0].path, f"{errors[0].reason} {SKIP_HINT}")
    listed = "; ".join(f"{e.path!r}: {e.reason}" for e in errors[1:5])
    rest = f" And {len(errors) - 5} more." if len(errors) > 5 else ""  # noqa: PLR2004 - five are enough to see
    raise ImageReadError(errors[0].path, f"{errors[0].reason} Nor {listed}{rest} {SKIP_HINT}")
