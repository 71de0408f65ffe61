# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
import torch
from anomalib.data import ImageBatch
from lightning.fabric.utilities import move_data_to_device
from torchvision.tv_tensors import Image, Mask

from anomalib_fsad.data.batch import FewShotBatch, FewShotItem


def item(seed: int = 0, size: tuple[int, int] = (8, 8), shots: int | None = 2) -> FewShotItem:
    torch.manual_seed(seed)
    return FewShotItem(
        image=Image(torch.rand(3, *size)),
        gt_mask=Mask(torch.zeros(size, dtype=torch.uint8)),
        gt_label=torch.tensor(seed % 2),
        image_path=f"{seed}.png",
        support=None if shots is None else Image(torch.rand(shots, 3, *size)),
        category="fundus",
    )


def test_it_is_an_image_batch_that_collates_and_parts_again() -> None:
    items = [item(i) for i in range(3)]
    batch = FewShotBatch.collate(items)
    assert isinstance(batch, ImageBatch)
    assert batch.support.shape == (3, 2, 3, 8, 8)
    assert batch.category == ["fundus"] * 3
    assert len(batch) == 3
    for before, after in zip(items, batch, strict=True):
        assert isinstance(after, FewShotItem)
        assert torch.equal(before.support, after.support)
        assert torch.equal(before.image, after.image)
        assert after.category == "fundus"


def test_without_support() -> None:
    batch = FewShotBatch.collate([item(shots=None)])
    assert batch.support is None
    assert len(batch) == 1
    assert next(iter(batch)).support is None
    assert FewShotBatch(image=torch.rand(2, 3, 4, 4)).category is None


def test_mixed_sizes_are_brought_to_one_with_their_supports() -> None:
    batch = FewShotBatch.collate([item(0, (8, 8)), item(1, (12, 10))])
    assert batch.image.shape == (2, 3, 12, 10)
    assert batch.support.shape == (2, 2, 3, 12, 10)
    assert batch.gt_mask.shape == (2, 12, 10)


def test_update_keeps_the_fields() -> None:
    batch = FewShotBatch.collate([item(), item(1)])
    support = batch.support
    batch.update(pred_score=torch.rand(2), anomaly_map=torch.rand(2, 1, 8, 8))
    assert batch.support is support
    other = batch.update(in_place=False, support=None)
    assert other.support is None
    assert batch.support is support
    assert other.category == ["fundus", "fundus"]


def test_device_moves() -> None:
    moved = move_data_to_device(FewShotBatch.collate([item()]), torch.device("meta"))
    assert isinstance(moved, FewShotBatch)
    assert moved.image.device.type == moved.support.device.type == "meta"
    assert moved.category == ["fundus"]


def test_numpy() -> None:
    batch = FewShotBatch.collate([item(), item(1)])
    array = batch.to_numpy()
    assert array.support.shape == (2, 2, 3, 8, 8)
    assert array.category == ["fundus", "fundus"]
    assert next(iter(array)).support.shape == (2, 3, 8, 8)
    assert item().to_numpy().category == "fundus"


def test_pickle() -> None:
    batch = FewShotBatch.collate([item()])
    assert torch.equal(pickle.loads(pickle.dumps(batch)).support, batch.support)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs CUDA")
def test_pinning() -> None:
    pinned = FewShotBatch.collate([item()]).pin_memory()
    assert pinned.image.is_pinned()
    assert pinned.support.is_pinned()


def test_pin_memory_reaches_every_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, device=None: tensor + 1)
    batch = FewShotBatch.collate([item()])
    pinned = batch.pin_memory()
    assert torch.allclose(pinned.support, batch.support + 1)
    assert torch.allclose(pinned.image, batch.image + 1)
    assert pinned.category == batch.category


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 2, 1, 8, 8)])
def test_a_wrong_support_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"support must be B x K x 3 x H x W, found \("):
        FewShotBatch(image=torch.rand(2, 3, 8, 8), support=torch.rand(shape))
