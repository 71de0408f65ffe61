# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

from anomalib_fsad.images.copies import TAIL, copies_among


def test_by_place_and_by_content(tmp_path: Path, monkeypatch) -> None:
    content = os.urandom(3 * TAIL)
    other_head = bytes([content[0] ^ 1]) + content[1:]
    other_tail = content[:-1] + bytes([content[-1] ^ 1])
    for name, held in (("a", content), ("b", content), ("c", other_head), ("d", other_tail), ("e", b""), ("f", b"")):
        (tmp_path / name).write_bytes(held)
    (tmp_path / "link").symlink_to(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    files = ["a", "c", "e", "link", "none"]
    others = [tmp_path / name for name in ("b", "d", "f", "gone")]
    assert copies_among(files, others) == {"a": str(tmp_path / "b"), "link": str(tmp_path / "d")}
    assert copies_among(["b"], [tmp_path / "b"]) == {"b": str(tmp_path / "b")}
    assert copies_among([], others) == {}
