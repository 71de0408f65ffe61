# SPDX-License-Identifier: Apache-2.0
"""D24FAD on what it is made for and on what it has never heard of: MedicalFewShot, MVTec and BMAD layouts."""

from pathlib import Path

import pytest
from anomalib.data import BMAD, AnomalibDataModule, MVTecAD
from anomalib.engine import Engine

from anomalib_fsad import D24FAD, MedicalFewShot
from tests.conftest import draw

LOADER = {"train_batch_size": 3, "eval_batch_size": 2, "num_workers": 0}


def medical(root: Path, **options) -> MedicalFewShot:
    phantom = {"image_size": 32, "n_train": 4, "n_test": 2}
    return MedicalFewShot(
        root, "fundus", reader="phantom", reader_args=phantom, k_shot=2, val_images=4, **LOADER, **options
    )


def episodes(root: Path) -> AnomalibDataModule:
    return medical(root)


def same_category(root: Path) -> AnomalibDataModule:
    return medical(root, same_category_batches=True)


def one_class(root: Path) -> AnomalibDataModule:
    return medical(root, protocol="one_class", val="same_as_test")


def mvtec(root: Path) -> AnomalibDataModule:
    for i in range(4):
        draw(root / f"bottle/train/good/{i}.png", i)
        draw(root / f"bottle/test/good/{i}.png", 10 + i)
        draw(root / f"bottle/test/broken/{i}.png", 20 + i, spot=True)
        draw(root / f"bottle/ground_truth/broken/{i}_mask.png", 30 + i)
    return MVTecAD(root, "bottle", **LOADER)


def bmad(root: Path) -> AnomalibDataModule:
    for i in range(3):
        draw(root / f"Brain/train/good/{i}.png", i)
        for split in ("valid", "test"):
            draw(root / f"Brain/{split}/good/img/{i}.png", 10 + i)
            draw(root / f"Brain/{split}/Ungood/img/{i}.png", 20 + i, spot=True)
            draw(root / f"Brain/{split}/Ungood/label/{i}.png", 30 + i)
    return BMAD(root, "Brain", **LOADER)


@pytest.mark.parametrize("make", [episodes, same_category, one_class, mvtec, bmad])
def test_fit_and_test(make, tmp_path):
    data = make(tmp_path / "data")
    model = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64, visualizer=False)
    engine = Engine(
        max_steps=1,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        barebones=False,
    )
    engine.fit(model=model, datamodule=data)
    metrics = engine.test(model=model, datamodule=data)[0]
    assert {"image_AUROC", "pixel_AUROC"} <= set(metrics)
    assert len(model.model.support) == 2


def test_the_support_follows_the_target_of_the_test_not_of_the_training(tmp_path):
    model = D24FAD(backbone="resnet18", pre_trained=False, image_size=64, visualizer=False)
    engine = Engine(max_steps=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False)
    engine.fit(model=model, datamodule=medical(tmp_path / "data"))
    fundus = model.model.support.images.clone()
    other = MedicalFewShot(
        tmp_path / "data",
        "head_ct",
        reader="phantom",
        reader_args={"image_size": 32, "n_train": 4, "n_test": 2},
        k_shot=3,
        **LOADER,
    )
    Engine(accelerator="cpu", default_root_dir=tmp_path / "b", logger=False, enable_progress_bar=False).test(
        model=model, datamodule=other, ckpt_path=engine.trainer.checkpoint_callback.best_model_path
    )
    assert len(model.model.support) == 3
    assert (model.model.support.images[0] - fundus[0]).abs().max() > 0.1
