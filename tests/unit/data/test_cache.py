# SPDX-License-Identifier: Apache-2.0
import logging
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import Resize

from anomalib_fsad.data import cache, unreadable
from anomalib_fsad.data.cache import GIB, CacheMode, ImageStore
from anomalib_fsad.images.decoding import ImageReadError, read_rgb


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 255, (40, 30 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(4)]


def store(tmp_path: Path, mode: CacheMode = "ram", budget: int = GIB, size: int | None = 16) -> ImageStore:
    made = ImageStore(mode, budget, tmp_path / "cache", "auto")
    made.resize_to(None if size is None else Resize((size, size), antialias=True))
    return made


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The list of what gets decoded from now on."""
    seen: list[str] = []

    def counting(path: str, intensity: str) -> np.ndarray:
        seen.append(str(path))
        return read_rgb(path, intensity)

    monkeypatch.setattr(cache, "read_rgb", counting)
    return seen


@pytest.mark.parametrize("mode", ["ram", "disk"])
def test_each_training_image_is_decoded_once(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch, mode: CacheMode
) -> None:
    kept = store(tmp_path, mode)
    seen = decoded(monkeypatch)
    kept.fill([*paths, *paths])
    for _ in range(3):
        images = [kept.read(path) for path in paths]
    kept.fill(paths)
    assert sorted(seen) == paths
    for path, image in zip(paths, images, strict=True):
        exact = Resize((16, 16), antialias=True)(torch.from_numpy(read_rgb(path)).permute(2, 0, 1))
        assert image.shape == (3, 16, 16)
        assert (image - exact).abs().max() <= 0.5 / 255 + 1e-6


def test_the_disk_cache_serves_the_next_run(tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, "disk").fill(paths)
    seen = decoded(monkeypatch)
    again = store(tmp_path, "disk")
    again.fill(paths)
    assert again.read(paths[0]).shape == (3, 16, 16)
    assert seen == []


def test_the_disk_cache_goes_by_content(tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bmp"  # not compressed: both are of one size
    first, second = (np.full((20, 20, 3), value, dtype=np.uint8) for value in (10, 200))
    Image.fromarray(first).save(path)
    stamp = path.stat().st_mtime_ns
    store(tmp_path, "disk").fill([str(path)])
    Image.fromarray(second).save(path)
    os.utime(path, ns=(stamp, stamp))
    changed = store(tmp_path, "disk")
    changed.fill([str(path)])
    assert torch.equal((changed.read(str(path)) * 255).round(), torch.full((3, 16, 16), 200.0))
    seen = decoded(monkeypatch)
    os.utime(path, ns=(1, 1))  # a clock that goes backwards changes nothing
    store(tmp_path, "disk").fill([str(path)])
    assert seen == []


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None], ids=["empty", "cut", "one bit"])
def test_a_damaged_file_of_the_cache_is_made_anew(tmp_path: Path, paths: list[str], damage: bytes | None) -> None:
    kept = store(tmp_path, "disk")
    kept.fill(paths)
    wanted = kept.read(paths[0])
    (file,) = (tmp_path / "cache").rglob("0_*.npy")
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(bytes(content) if damage is None else damage)
    again = store(tmp_path, "disk")
    again.fill(paths)
    assert torch.equal(again.read(paths[0]), wanted)


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, paths: list[str]) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"cache_dir: .*cannot be written \(.*--data\.cache ram"):
        store(tmp_path, "disk").fill(paths)


def test_a_full_disk_is_named_and_leaves_nothing_half(tmp_path: Path, paths: list[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(OSError, match=r"cache_dir: .*cannot be written \(File too large\)\. Pass another folder"):
            store(tmp_path, "disk").fill(paths)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    store(tmp_path, "disk").fill(paths)


def test_a_cache_that_is_read_only_serves_what_it_has(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, "disk").fill(paths)
    monkeypatch.setattr(cache, "write_whole", lambda *_: pytest.fail("nothing is written"))
    again = store(tmp_path, "disk")
    again.fill(paths)
    assert again.read(paths[0]).shape == (3, 16, 16)


@pytest.mark.parametrize(
    "name", ["a b.png", "ä€.png", "two\nlines.png", "-rf.png", f"{'x' * 246}.png", f"{'ü' * 123}.png", "A.png"]
)
def test_names_of_all_kinds_are_cached(tmp_path: Path, paths: list[str], name: str) -> None:
    odd, other = tmp_path / name, tmp_path / "a.png"  # A.png and a.png are two images
    Path(paths[0]).rename(odd)
    Path(paths[1]).rename(other)
    kept = store(tmp_path, "disk")
    kept.fill([str(odd), str(other)])
    assert kept.read(str(odd)).shape == (3, 16, 16)
    assert not torch.equal(kept.read(str(odd)), kept.read(str(other)))


def test_what_is_not_cached_is_exact(tmp_path: Path, paths: list[str]) -> None:
    kept = store(tmp_path)
    kept.fill(paths[:1])
    assert kept.read(paths[1]).shape == (3, 40, 31)
    assert torch.equal(kept.read(paths[1]), torch.from_numpy(read_rgb(paths[1])).permute(2, 0, 1))


def test_none_decodes_each_time(tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store(tmp_path, "none")
    kept.fill(paths)
    seen = decoded(monkeypatch)
    kept.read(paths[0])
    kept.read(paths[0])
    assert len(seen) == 2


def test_the_budget_is_kept_and_said(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = store(tmp_path, budget=2 * 3 * 16 * 16)
    kept.fill(paths)
    assert "2 of 4 training images fit into the image cache" in caplog.text
    assert "--data.cache_gib" in caplog.text
    seen = decoded(monkeypatch)
    assert [kept.read(path).shape[0] for path in paths] == [3] * 4
    assert len(seen) == 2


def test_another_size_drops_what_was_cached(tmp_path: Path, paths: list[str]) -> None:
    kept = store(tmp_path)
    kept.fill(paths)
    kept.resize_to(Resize((8, 8), antialias=True))
    kept.fill(paths)
    assert kept.read(paths[0]).shape == (3, 8, 8)
    kept.resize_to(None)
    kept.fill(paths)
    assert kept.read(paths[0]).shape == (3, 40, 30)


def test_unreadable_images_are_all_named(tmp_path: Path, paths: list[str]) -> None:
    for path in paths[:3]:
        Path(path).write_bytes(b"")
    for call in (store(tmp_path).fill, store(tmp_path, "disk").fill, store(tmp_path).check):
        with pytest.raises(ImageReadError, match=r"(?s)0\.png.*1\.png.*2\.png.*0 bytes.*--data\.on_error skip"):
            call(paths)
    assert [error.path for error in store(tmp_path).unreadable(paths)] == paths[:3]


@pytest.mark.parametrize("mode", ["ram", "disk", "none"])
def test_missing_images_are_all_named(tmp_path: Path, paths: list[str], mode: CacheMode) -> None:
    gone = [str(tmp_path / "x.png"), str(tmp_path / "y.png")]
    with pytest.raises(ImageReadError, match=r"x\.png.*there is no such file.*y\.png"):
        store(tmp_path, mode).check([*paths, *gone])
    if mode != "none":
        with pytest.raises(ImageReadError, match=r"x\.png.*there is no such file.*y\.png"):
            store(tmp_path, mode).fill([*paths, *gone])


def test_a_viewer_gets_a_copy_of_what_it_cannot_open(tmp_path: Path, paths: list[str]) -> None:
    deep = tmp_path / "deep.png"
    values = np.linspace(0, 4000, 900).reshape(30, 30).astype(np.uint16)
    Image.fromarray(values).save(deep)
    kept = store(tmp_path)
    kept.check([str(deep), paths[0]])
    shown = Path(kept.shown_as(str(deep)))
    assert kept.shown_as(paths[0]) == paths[0]
    assert shown.is_relative_to(tmp_path / "cache")
    assert shown.name.startswith("deep_")
    with Image.open(shown) as image:
        assert image.mode == "RGB"
        assert (np.asarray(image)[..., 0] == np.rint(values / 4000 * 255)).all()
    assert len(torch.unique(kept.read(str(deep)))) == 900  # scores come from all of it


def test_long_work_shows_progress(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    titles: list[str] = []

    def track(results, title: str, **options: object):
        titles.append(title)
        return results

    monkeypatch.setattr(unreadable, "track", track)
    monkeypatch.setattr(unreadable, "PROGRESS_FROM", 4)
    with caplog.at_level(logging.INFO):
        store(tmp_path).fill(paths)
        store(tmp_path).fill(paths[:2])
    assert titles == ["Caching training images"]
