# SPDX-License-Identifier: Apache-2.0
"""The folder that is asked for, and files that are whole or not there."""

from pathlib import Path

import pytest

from anomalib_fsad.cache_folder import cache_folder, write_whole


def test_the_own_variable_comes_before_the_desktops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ANOMALIB_FSAD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "anomalib_fsad"
    monkeypatch.setenv("ANOMALIB_FSAD_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    def half(draft: Path) -> None:
        draft.write_text("ha")
        raise OSError

    file = tmp_path / "folder" / "file.txt"
    write_whole(file, lambda draft: draft.write_text("whole"))
    with pytest.raises(OSError):  # noqa: PT011 - its own
        write_whole(file, half)
    assert [path.read_text() for path in file.parent.iterdir()] == ["whole"]
