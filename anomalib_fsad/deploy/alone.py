# SPDX-License-Identifier: Apache-2.0
"""One process at a time writes a file that takes minutes to make."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from anomalib_fsad.files import shortened

fcntl: ModuleType | None = None
with suppress(ImportError):  # there is none on Windows, where nothing is locked then
    import fcntl  # type: ignore[no-redef]


HELD: set[Path] = set()
"""What this process is at: the lock keeps other processes away only."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes of this kind from writing ``path`` until the context ends, or the process does.

    Raises:
        ValueError: if one is at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(shortened(f".{path.name}", ".lock"))
    # Asked before the file is opened, since closing it again would end the lock of another thread.
    if lock in HELD:
        raise ValueError(_busy(path))
    with lock.open("w") as file:
        if not _locked(file.fileno(), lock):
            raise ValueError(_busy(path))
        HELD.add(lock)
        try:
            yield
        finally:
            HELD.discard(lock)
            lock.unlink(missing_ok=True)


def _busy(path: Path) -> str:
    return f"{str(path)!r} is being written by another process: wait until it has ended, or choose another name."


def _locked(file: int, lock: Path) -> bool:
    if fcntl is None:
        return True
    try:
        # Not flock: a child that outlives a killed process, such as OpenVINO's telemetry, would go on holding it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    # Who held it a moment ago has removed it, and a third may have made another by now.
    return lock.exists() and os.fstat(file).st_ino == lock.stat().st_ino
