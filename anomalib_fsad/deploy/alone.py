# SPDX-License-Identifier: Apache-2.0
"""One process at a time writes a file that takes minutes to make."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None = None
with suppress(ImportError):  # there is none on Windows, where nothing is locked then
    import fcntl  # type: ignore[no-redef]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes of this kind from writing ``path`` until the context ends, or the process does.

    Raises:
        ValueError: if one is at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with lock.open("w") as file:
        if not _locked(file.fileno(), lock):
            msg = f"{str(path)!r} is being written by another process: wait until it has ended, or choose another name."
            raise ValueError(msg)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _locked(file: int, lock: Path) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Who held it a moment ago has removed it, and a third may have made another by now.
    return lock.exists() and os.fstat(file).st_ino == lock.stat().st_ino
