# SPDX-License-Identifier: Apache-2.0
"""Which files are images, whatever lies beside them."""

import time
from pathlib import Path

from anomalib_fsad.images.listing import images_in


def test_links_in_circles_end_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").touch()
    (tmp_path / "a/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "own.png").symlink_to(tmp_path / "own.png")
    (tmp_path / "one.png").symlink_to(tmp_path / "other.png")
    (tmp_path / "other.png").symlink_to(tmp_path / "one.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    assert [str(path.relative_to(tmp_path)) for path in images_in(tmp_path, below=True)] == ["a/1.png"]


def test_names_of_all_kinds_are_listed_once(tmp_path: Path) -> None:
    names = [" .png", "-rf.png", "A.png", "a.png", "a b.PNG", "two\nlines.png", "ä€.png", f"{'x' * 246}.png"]
    for name in names:
        (tmp_path / name).touch()
    assert sorted(path.name for path in images_in(tmp_path)) == sorted(names)


def test_ten_thousand_files_are_listed_in_seconds(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.png").touch()
    began = time.process_time()
    assert len(images_in(tmp_path, below=True)) == 10_000
    assert time.process_time() - began < 10
