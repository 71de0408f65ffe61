# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anomalib_fsad.files import DAY, NAME_BYTES, replacing, shortened, sweep

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from anomalib_fsad.files import replacing
with replacing(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def drafts(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*"))


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with contextlib.suppress(ZeroDivisionError), replacing(file) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert file.read_text() == "old"
    with replacing(file) as draft:
        draft.write_text("new")
    assert file.read_text() == "new"
    assert drafts(tmp_path) == []


def test_what_a_killed_process_leaves_goes_with_the_next(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    killed = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(file)], check=False)
    assert killed.returncode == -9
    assert len(drafts(tmp_path)) == 1
    with replacing(tmp_path / "b.txt") as draft:
        draft.write_text("another file's are left alone")
    assert len(drafts(tmp_path)) == 1
    with replacing(file) as draft:
        draft.write_text("new")
    assert drafts(tmp_path) == []
    assert file.read_text() == "new"


def test_what_others_are_writing_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with replacing(file) as first:
        first.write_text("first")
        parts = first.name.split(".")
        living = first.with_name(".".join([*parts[:3], str(os.getppid()), *parts[4:]]))
        elsewhere = first.with_name(".".join([*parts[:2], "0" * 12, *parts[3:]]))
        for other in (living, elsewhere):
            other.write_text("somebody's")
        with replacing(file.with_name("b")) as unrelated:
            unrelated.write_text("")
    with replacing(file) as second:
        second.write_text("second")
    assert drafts(tmp_path) == sorted([living, elsewhere])
    old = time.time() - 2 * DAY
    os.utime(elsewhere, (old, old))
    with replacing(file) as third:
        third.write_text("third")
    assert drafts(tmp_path) == [living]


def test_the_longest_names_are_written(tmp_path: Path) -> None:
    file = tmp_path / ("x" * NAME_BYTES)
    with replacing(file) as draft:
        draft.write_text("whole")
    assert file.read_text() == "whole"


@pytest.mark.parametrize("name", ["x" * 253, "ü" * 127, "€" * 85])
def test_names_are_shortened_to_what_fits_and_stay_apart(name: str) -> None:
    names = {shortened(name + end, ".png") for end in "abc"}
    assert len(names) == 3
    assert all(len(os.fsencode(short)) <= NAME_BYTES and short.endswith(".png") for short in names)


def test_what_is_left_of_a_file_that_is_whole_goes_with_a_sweep(tmp_path: Path) -> None:
    file = tmp_path / "deep/a.txt"
    file.parent.mkdir()
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(file)], check=False)
    (left,) = drafts(file.parent)
    file.write_text("whole, by another process")
    (tmp_path / ".of_somebody_else.part").touch()
    with replacing(tmp_path / "b.txt") as draft:
        draft.touch()
        sweep(tmp_path)
        assert draft.exists()
    assert not left.exists()
    assert (tmp_path / ".of_somebody_else.part").exists()
    assert file.exists()
