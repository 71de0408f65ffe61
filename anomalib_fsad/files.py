# SPDX-License-Identifier: Apache-2.0
"""Writing files that are whole or not there, whatever becomes of the process that writes; standard library only."""

import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

DAY = 24 * 3600

NAME_BYTES = 255
"""The longest name that the usual file systems take."""

DRAFTS: set[str] = set()
"""What this process is writing just now."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A draft beside ``path`` to write, which takes its place when the context ends without an error.

    A process that is killed leaves its draft behind; whoever writes the same file next removes it.

    Args:
        path: the file.
        durable: wait until the disk has it, so that a power cut takes the file before or the file after.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "a.txt") as draft:
        ...         _ = draft.write_text("whole")
        ...     [(file.name, file.read_text()) for file in Path(folder).iterdir()]
        [('a.txt', 'whole')]
    """
    draft = draft_of(path)
    DRAFTS.add(draft.name)
    try:
        yield draft
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
        DRAFTS.discard(draft.name)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, which is not there yet: an empty draft to fill, all or nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing_folder(Path(folder) / "a") as draft:
        ...         _ = (draft / "b.txt").write_text("whole")
        ...     [str(file.relative_to(folder)) for file in Path(folder).rglob("*.txt")]
        ['a/b.txt']
    """
    draft = draft_of(path)
    DRAFTS.add(draft.name)
    try:
        draft.mkdir()
        yield draft
        draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        DRAFTS.discard(draft.name)


def draft_of(path: Path) -> Path:
    """Where this thread writes what is to become ``path``; what killed processes left of it is removed."""
    # No part of the name itself, which may be as long as names can be.
    prefix = f".{_digest(path.name)}."
    _sweep(path.parent.glob(f"{prefix}*.part"))
    return path.with_name(f"{prefix}{_here()}.{os.getpid()}.{threading.get_ident()}.part")


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a tree, also of files that another process has made whole since."""
    _sweep(folder.rglob(".*.part"))


def _sweep(drafts: Iterable[Path]) -> None:
    for left in drafts:
        if _is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def shortened(name: str, suffix: str = "") -> str:
    """``name + suffix``, with the end of the name replaced by its digest where that is longer than a name may be.

    Example:
        >>> shortened("a", ".png"), len(shortened("a" * 254, ".png"))
        ('a.png', 255)
    """
    whole = os.fsencode(name + suffix)
    if len(whole) <= NAME_BYTES:
        return name + suffix
    end = f"~{_digest(name)}{suffix}"
    return os.fsencode(name)[: NAME_BYTES - len(os.fsencode(end))].decode(errors="ignore") + end


def _is_abandoned(draft: Path) -> bool:
    """Whether nobody writes it any more: its process is gone, or, of another machine, it is older than a day."""
    parts = draft.name.split(".")  # as draft_of makes them
    if len(parts) != 6 or not parts[3].isdigit():  # noqa: PLR2004
        return False
    host, process = parts[2], int(parts[3])
    if process == os.getpid() and host == _here():
        return draft.name not in DRAFTS
    try:
        if host != _here() or os.name != "posix":
            return time.time() - draft.stat().st_mtime > DAY
        os.kill(process, 0)
    except (ProcessLookupError, FileNotFoundError):
        return True
    except PermissionError:
        return False
    return False


def _here() -> str:
    return _digest(socket.gethostname())


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]
