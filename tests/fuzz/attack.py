# SPDX-License-Identifier: Apache-2.0
"""One process of an attack: case after case, until the time is over or something is found.

    python -m tests.fuzz.attack light|heavy SEED SECONDS FOLDER

It prints a line ``case KIND`` before each case, which then lies in FOLDER, so that whoever started it can tell what it
died of; and ``found KIND HOW`` for what it finds itself, after which it goes on. Memory that was once needed cannot be
seen to be given back, so a case that needs too much ends it.
"""

import contextlib
import io
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz.kinds import Kind, is_clear

MEMORY_KIB, MORE_KIB = 1 << 20, 1 << 19
"""What a process may need in all, or, if it needed almost as much for its imports, beside them."""


def kinds_of(family: str, folder: Path) -> list[Kind]:
    """The kinds that are read with torch, or those that are not."""
    if family == "light":
        from tests.fuzz.light import light_kinds

        return light_kinds(folder)
    from tests.fuzz.heavy import heavy_kinds

    return heavy_kinds(folder)


def case_of(kind: Kind, random: Random) -> bytes:
    """A fresh case; what no library would write is drawn again."""
    while True:
        with contextlib.suppress(Exception):
            return kind.damage(random.choice(kind.whole), random)


def fault_of(kind: Kind, case: bytes, folder: Path) -> str | None:
    """What is wrong with how a case is read; ``None`` where it is read, or refused in words of ours."""
    path = folder / kind.file
    path.write_bytes(case)
    before = open_files()
    fault = None
    try:
        kind.read(path)
    except Exception as error:
        if not is_clear(error):
            fault = "".join(traceback.format_exception(error, limit=-3))
    left = open_files() - before
    return fault or (f"left open: {sorted(left)}" if left else None)


def open_files() -> set[tuple[str, str]]:
    """Descriptors, and what they are of."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            found.add((descriptor, os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115
    return {(number, name) for number, name in found if not name.startswith("/proc/")}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Readers may warn of what they read; thousands of warnings help nobody."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def peak_kib() -> int:
    """The most memory that this process has needed until now."""
    # Not getrusage, which goes on counting from what the process needed that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])


def main(family: str, seed: str, seconds: str, folder: str) -> None:
    """Attack until the time is over."""
    random, place = Random(seed), Path(folder)
    with silence():
        kinds = kinds_of(family, place)
        for kind in kinds:
            fault_of(kind, kind.whole[0], place)  # what is loaded at first use is no fault of the first case
        limit = max(MEMORY_KIB, peak_kib() + MORE_KIB)
        tell("ready")
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            kind = random.choice(kinds)
            case = case_of(kind, random)
            (place / "case").write_bytes(case)
            tell(f"case {kind.name}")
            fault = fault_of(kind, case, place)
            if peak_kib() > limit:
                tell(f"found {kind.name} more memory than {limit >> 10} MiB")
                return
            if fault is not None:
                tell(f"found {kind.name} {fault!r}")
                sys.stdin.readline()  # until the case is kept
        tell("over")


def tell(line: str) -> None:
    """A line to whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
