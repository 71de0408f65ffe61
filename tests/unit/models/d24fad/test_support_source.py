# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_fsad.models.d24fad.support_source import (
    datamodule_support,
    folder_support,
    training_support,
)
from tests.conftest import draw, toy_folder


def test_folder(toy_root):
    images = folder_support(toy_root / "test/good", 2, seed=0)
    assert [tuple(image.shape) for image in images] == [(3, 64, 96)] * 2


def test_deep_images_keep_their_range(tmp_path):
    """anomalib's own reading would cut them off at 255: supports of plain white."""
    ramp = np.linspace(1000, 60000, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    (image,) = folder_support(tmp_path, 1, seed=0)
    assert image.shape == (3, 32, 32)
    assert len(image.unique()) > 500


def test_folder_that_will_not_do(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        folder_support(tmp_path / "missing", 2, seed=0)
    with pytest.raises(ValueError, match="holds 0 images, but k_shot=2"):
        folder_support(tmp_path, 2, seed=0)
    draw(tmp_path / "a.png", 0)
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Cannot read image.*b\.png.*empty"):
        folder_support(tmp_path, 2, seed=0)


def test_training_split(toy_root):
    data = toy_folder(toy_root)
    data.setup()
    assert len(training_support(data.train_data, 3, seed=0)) == 3
    with pytest.raises(ValueError, match="has 5 normal images, but k_shot=6"):
        training_support(data.train_data, 6, seed=0)


def test_datamodule_with_and_without_a_support_set(toy_root):
    batch = SimpleNamespace(image=torch.rand(2, 3, 8, 8))
    assert len(datamodule_support(SimpleNamespace(support_dataloader=lambda: [batch]))) == 2
    assert datamodule_support(toy_folder(toy_root)) is None
    assert datamodule_support(None) is None
