# SPDX-License-Identifier: Apache-2.0
"""D24FAD on what it is made for and on what it has never heard of: MedicalFewShot, MVTec and BMAD layouts."""

from pathlib import Path

import pytest
import torch
from anomalib.data import BMAD, AnomalibDataModule, Folder, MVTecAD
from anomalib.engine import Engine

from anomalib_fsad import D24FAD, MedicalFewShot
from anomalib_fsad.models.components.checkpoint import save_checkpoint
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


def same_as_test_folder(root: Path) -> AnomalibDataModule:
    for i in range(4):
        draw(root / f"good/{i}.png", i)
        draw(root / f"bad/{i}.png", i, spot=True)
    return Folder("one", root=root, normal_dir="good", abnormal_dir="bad", val_split_mode="same_as_test", **LOADER)


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


@pytest.mark.parametrize("make", [episodes, same_category])
def test_the_other_organs_say_what_a_space_counts(make, tmp_path, caplog):
    caplog.set_level("INFO")
    compared = {"matching": "nearest", "spaces": ["teacher", "residual"], "space_weights": "learnt"}
    model = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64, visualizer=False, **compared)
    engine = Engine(max_steps=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False)
    data = make(tmp_path / "data")
    engine.fit(model=model, datamodule=data)
    assert "fundus" not in {item.category for item in data.val_data}
    assert f"learnt from {len(data.val_data)} validation images" in caplog.text
    assert model.model.space_weights.sum() == pytest.approx(2)
    caplog.clear()
    engine.fit(model=model, datamodule=data)  # as many steps again
    assert f"learnt from {len(data.val_data)} validation images" in caplog.text
    images = torch.rand(2, 3, 64, 64)
    alike = model.eval().model(images).pred_score
    model.model.space_weights.copy_(torch.tensor([0.5, 1.5]))
    save_checkpoint(model, tmp_path / "weighed.ckpt")
    restored = D24FAD.load_from_checkpoint(tmp_path / "weighed.ckpt").eval()
    assert restored.model.space_weights.tolist() == [0.5, 1.5]
    scores = restored.model(images).pred_score
    torch.testing.assert_close(scores, model.model(images).pred_score)
    assert not torch.allclose(scores, alike)


@pytest.mark.parametrize("make", [one_class, same_as_test_folder])
def test_the_target_has_no_say_in_what_a_space_counts(make, tmp_path, caplog):
    compared = {"matching": "nearest", "spaces": ["teacher", "residual"], "space_weights": "learnt"}
    model = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64, visualizer=False, **compared)
    engine = Engine(max_steps=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False)
    engine.fit(model=model, datamodule=make(tmp_path / "data"))
    assert "needs validation images of other categories" in caplog.text
    assert model.model.space_weights.tolist() == [1.0, 1.0]
