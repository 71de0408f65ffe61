# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD and PDD on what they are meant for: MedicalFewShot, one class and few shots, and a BMAD layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.data import BMAD, AnomalibDataModule
from anomalib.engine import Engine
from PIL import Image

from anomalib_fsad import PDD, SCRD4AD, MedicalFewShot
from tests.conftest import draw
from tests.unit.models.pdd.conftest import TINY as TINY_PDD
from tests.unit.models.scrd4ad.conftest import TINY as TINY_SCRD4AD


def bmad(root: Path) -> BMAD:
    """A miniature of one BMAD category: training images, and two splits with masks beside the ill ones."""
    home = root / "Brain"
    for i in range(4):
        draw(home / f"train/good/{i}.png", i)
    mask = np.zeros((72, 80), np.uint8)
    mask[20:40, 30:50] = 255
    for split in ("valid", "test"):
        for i in range(2):
            draw(home / split / f"good/img/{i}.png", 10 + i)
            draw(home / split / f"Ungood/img/{i}.png", 20 + i, spot=True)
            for kind, pixels in (("good", 0 * mask), ("Ungood", mask)):
                path = home / split / kind / "label" / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return BMAD(root, "Brain", train_batch_size=2, eval_batch_size=2, num_workers=0)


def medical(root: Path, protocol: str) -> MedicalFewShot:
    return MedicalFewShot(
        root,
        target="fundus",
        reader="phantom",
        reader_args={"image_size": 64, "n_train": 8, "n_test": 4},
        protocol=protocol,
        k_shot=3,
        val_images=4,
        train_batch_size=2,
        eval_batch_size=2,
        num_workers=0,
    )


def datamodule(name: str, root: Path) -> AnomalibDataModule:
    return bmad(root) if name == "bmad" else medical(root, name)


@pytest.mark.parametrize("name", ["bmad", "one_class", "few_shot"])
@pytest.mark.parametrize(("model_class", "tiny"), [(SCRD4AD, TINY_SCRD4AD), (PDD, TINY_PDD)])
def test_fit_and_test(model_class: type, tiny: dict[str, Any], name: str, tmp_path: Path) -> None:
    data, model = datamodule(name, tmp_path / "data"), model_class(**tiny, max_epochs=1, visualizer=False)
    engine = Engine(accelerator="cpu", devices=1, default_root_dir=tmp_path, logger=False, enable_progress_bar=False)
    engine.fit(model, datamodule=data)
    (metrics,) = engine.test(model, datamodule=data)
    assert {"image_AUROC", "pixel_AUROC"} <= set(metrics)
    assert all(0 <= value <= 1 for value in metrics.values())
    assert torch.isfinite(model.post_processor.image_threshold)
