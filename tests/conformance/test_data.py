# SPDX-License-Identifier: Apache-2.0
"""What the models are meant for: MedicalFewShot in each protocol, and a BMAD layout in anomalib's own datamodule."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anomalib.data import BMAD, AnomalibDataModule
from anomalib.engine import Engine
from PIL import Image

from anomalib_fsad import MedicalFewShot
from tests.conformance.conftest import QUIET, REGISTERED, Variant
from tests.conftest import draw


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


def medical(root: Path, protocol: str = "episodic") -> MedicalFewShot:
    """Phantoms of several organs."""
    return MedicalFewShot(
        root,
        target="fundus",
        reader="phantom",
        reader_args={"image_size": 64, "n_train": 8, "n_test": 4},
        protocol=protocol,
        k_shot=4,
        val_images=4,
        train_batch_size=4,
        eval_batch_size=2,
        num_workers=0,
    )


DATA: dict[str, Callable[[Path], AnomalibDataModule]] = {
    "bmad": bmad,
    "one_class": lambda root: medical(root, "one_class"),
    "few_shot": lambda root: medical(root, "few_shot"),
    "episodic": medical,
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("own", [one for one in REGISTERED if one.backbone == "resnet18"], ids="-".join)
def test_fit_and_test(own: Variant, data: str, tmp_path: Path) -> None:
    model, datamodule = own.build(max_epochs=1), DATA[data](tmp_path / "data")
    engine = Engine(default_root_dir=tmp_path, **QUIET)
    engine.fit(model, datamodule=datamodule)
    (metrics,) = engine.test(model, datamodule=datamodule)
    assert {"image_AUROC", "pixel_AUROC"} <= set(metrics)
    assert all(0 <= value <= 1 for value in metrics.values())
    assert math.isfinite(model.post_processor.image_threshold)
