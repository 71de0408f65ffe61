# SPDX-License-Identifier: Apache-2.0
"""What is kept comes back, within the limit, and no damaged file is taken for a good one."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from anomalib_fsad.files import DRAFTS, draft_of
from anomalib_fsad.models.components.teacher_store import GIB, FolderStore, MemoryStore, Store

NAMES = ("4", "8")


def maps(value: float) -> dict[str, torch.Tensor]:
    return {"4": torch.full((2, 4, 4), value), "8": torch.full((3, 2, 2), value + 1)}


SIZE = sum(tensor.nbytes for tensor in maps(0).values())


def equal(store: Store, name: str, value: float) -> bool:
    found = store.read(name, NAMES)
    return found is not None and all(torch.equal(a, b) for a, b in zip(found, maps(value).values(), strict=True))


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_levels_come_back_in_the_order_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    store = MemoryStore(GIB) if kind == "memory" else FolderStore(tmp_path, GIB)
    store.keep("a/1", maps(5))
    assert equal(store, "a/1", 5)
    assert [tuple(level.shape) for level in store.read("a/1", ["8"])] == [(3, 2, 2)]
    assert store.read("a/1", ["4", "16"]) is None
    assert store.read("a/2", NAMES) is None


def test_bfloat16_comes_back(tmp_path: Path) -> None:
    kept = torch.rand(2, 3, 3).bfloat16()
    FolderStore(tmp_path, GIB).keep("a", {"4": kept})
    assert torch.equal(FolderStore(tmp_path, GIB).read("a", ["4"])[0], kept)


def test_memory_is_never_over_its_limit(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(int(2.5 * SIZE))
    for i in range(4):
        store.keep(str(i), maps(i))
    store.keep("0", maps(7))  # in place of the first
    assert (list(store.kept), store.used) == (["0", "1"], 2 * SIZE)
    assert "cache_gib" in caplog.text


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


def exchange(path: Path) -> None:
    path.write_bytes(b"\xff" * 300)


@pytest.mark.parametrize("damage", [cut, empty, flip_a_bit, exchange])
def test_a_damaged_file_is_no_features(damage: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FolderStore(tmp_path, GIB).keep("a/1", maps(5))
    damage(tmp_path / "a/1.safetensors")
    store = FolderStore(tmp_path, GIB)
    assert store.read("a/1", NAMES) is None
    assert "damaged" in caplog.text
    store.keep("a/1", maps(5))
    assert equal(FolderStore(tmp_path, GIB), "a/1", 5)


def test_a_draft_is_no_features_and_goes_when_its_process_is_gone(tmp_path: Path) -> None:
    own = draft_of(tmp_path / "a" / "1.safetensors")
    own.parent.mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    other = own.with_name(own.name.replace(f".{os.getpid()}.", f".{gone.pid}."))
    other.write_bytes(b"half of it")
    DRAFTS.add(own.name)
    own.write_bytes(b"half of it")
    assert FolderStore(tmp_path, GIB).used == 0
    assert own.exists()
    assert not other.exists()
    DRAFTS.discard(own.name)


def test_a_full_folder_drops_what_was_not_used_for_longest(tmp_path: Path) -> None:
    first = FolderStore(tmp_path, GIB)
    for i in range(4):
        first.keep(f"old/{i}", maps(i))
        os.utime(tmp_path / f"old/{i}.safetensors", (1e9 + i,) * 2)
    room = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    second = FolderStore(tmp_path, room)
    assert equal(second, "old/0", 0)  # now it was used
    for i in range(6):
        second.keep(f"new/{i}", maps(i))
    left = {str(path.relative_to(tmp_path).with_suffix("")) for path in tmp_path.rglob("*.safetensors")}
    assert {"old/0", "new/0", "new/1"} <= left
    assert not {"old/1", "old/2", "old/3", "new/5"} & left
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= room


def test_many_write_the_same_at_once(tmp_path: Path) -> None:
    def run(_worker: int) -> bool:
        store = FolderStore(tmp_path, GIB)
        for i in range(20):
            if not equal(store, f"a/{i}", i):
                store.keep(f"a/{i}", maps(i))
        return all(equal(store, f"a/{i}", i) for i in range(20))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(run, range(6)))
    assert len(list(tmp_path.rglob("*"))) == 21


def test_a_full_disk_costs_the_cache_and_not_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FolderStore(tmp_path, GIB)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        for i in range(2):
            store.keep(f"a/{i}", maps(i))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.read("a/0", NAMES) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert caplog.text.count("cannot be kept in") == 1
    assert "ANOMALIB_FSAD_CACHE" in caplog.text
    store.keep("a/0", maps(0))
    assert equal(store, "a/0", 0)


def test_a_read_only_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FolderStore(tmp_path, GIB).keep("a/0", maps(0))
    FolderStore(tmp_path, GIB).keep("a/1", maps(1))
    (tmp_path / "a/1.safetensors").write_bytes(b"damaged")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for place, name in ((os, "utime"), (Path, "unlink"), (Path, "replace")):
        monkeypatch.setattr(place, name, refuse)
    monkeypatch.setattr("anomalib_fsad.models.components.teacher_store.write_whole", refuse)
    store = FolderStore(tmp_path, GIB)
    assert equal(store, "a/0", 0)
    assert store.read("a/1", NAMES) is None
    store.keep("a/1", maps(1))
    assert "Read-only file system" in caplog.text
