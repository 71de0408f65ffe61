# SPDX-License-Identifier: Apache-2.0
"""One rule for the K support images, whoever asks."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anomalib_fsad.data import MedicalFewShot
from anomalib_fsad.images.listing import images_in
from anomalib_fsad.images.support import choose_support
from anomalib_fsad.models.d24fad.support_source import folder_support
from tests.conftest import draw


@given(count=st.integers(1, 60), k_shot=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_k_of_them_in_their_order_and_nested(count: int, k_shot: int, seed: int) -> None:
    items = list(range(count))
    if k_shot > count:
        with pytest.raises(ValueError, match=f"k_shot={k_shot}: there are {count} images"):
            choose_support(items, k_shot, seed)
        return
    chosen = choose_support(items, k_shot, seed)
    assert len(chosen) == len(set(chosen)) == k_shot
    assert chosen == sorted(chosen) == choose_support(items, k_shot, seed)
    if k_shot > 1:
        assert set(choose_support(items, k_shot - 1, seed)) < set(chosen)


def test_every_image_is_chosen_by_some_seed() -> None:
    chosen = {item for seed in range(60) for item in choose_support(range(10), 2, seed)}
    assert chosen == set(range(10))


@pytest.mark.parametrize("k_shot", [1, 3])
@pytest.mark.parametrize("seed", [0, 111])
def test_a_folder_gives_the_same_images_to_data_and_model(
    phantom: Path, tmp_path: Path, k_shot: int, seed: int
) -> None:
    folder = tmp_path / "support"
    for place in ("b.png", "a.png", "deeper/0.png", "deeper/c.png", ".hidden.png"):
        draw(folder / place, seed=len(place) + ord(place[0]))
    (folder / "notes.txt").write_text("no image")
    options = {"few_shot_source": folder, "k_shot": k_shot, "support_seed": seed, "num_workers": 0}
    data = MedicalFewShot(phantom, protocol="few_shot", cache_dir=tmp_path / "cache", **options)
    data.setup()
    # What a bundle enrols: all images of the folder in order, and the rule.
    assert data.support_files == [str(path) for path in choose_support(images_in(folder, below=True), k_shot, seed)]
    (batch,) = list(data.support_dataloader())
    for ours, theirs in zip(batch.image, folder_support(folder, k_shot, seed), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """One category in folders."""
    for i in range(4):
        draw(tmp_path / f"set/organ/train/good/{i}.png", i)
        draw(tmp_path / f"set/organ/test/good/{i}.png", 10 + i)
        draw(tmp_path / f"set/organ/test/bad/{i}.png", 20 + i, spot=True)
    return tmp_path / "set"
