# SPDX-License-Identifier: Apache-2.0
"""New images through anomalib's own command line, its engine, and by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.cli.cli import AnomalibCLI
from anomalib.engine import Engine
from anomalib.models import Padim
from anomalib.pre_processing import PreProcessor
from PIL import Image

from anomalib_fsad import MedicalFolder
from anomalib_fsad.images.decoding import ImageReadError
from tests.conftest import cli, draw, toy_folder

QUIET = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "logger": False}


@pytest.fixture(scope="module")
def checkpoint(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of anomalib's own, fitted to five pictures."""
    model = Padim(backbone="resnet18", layers=["layer1"], pre_trained=False, n_features=8)
    engine = Engine(default_root_dir=tmp_path_factory.mktemp("padim"), **QUIET)
    engine.fit(model, datamodule=toy_folder(toy_root))
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    engine.trainer.save_checkpoint(path)
    return path


@pytest.fixture
def two_depths(tmp_path: Path) -> Path:
    """One picture with 8 bits and with 16, in which each value is 257 times as large."""
    path = draw(tmp_path / "new/eight.png", 3, spot=True)
    grey = np.asarray(Image.open(path).convert("L")).astype(np.float64)
    grey = np.rint((grey - grey.min()) / (grey.max() - grey.min()) * 255)
    Image.fromarray(grey.astype(np.uint8)).save(path)
    (path.parent / "deeper").mkdir()
    Image.fromarray((grey * 257).astype(np.uint16)).save(path.parent / "deeper/sixteen.png")
    return path.parent


def predicted(ran: AnomalibCLI) -> list:
    return [item for batch in ran.engine.trainer.predict_loop.predictions for item in batch]


def arguments(checkpoint: Path, path: Path, tmp_path: Path) -> list[str]:
    return [
        "--model=Padim",
        "--model.backbone=resnet18",
        "--model.layers=[layer1]",
        "--model.pre_trained=false",
        "--model.n_features=8",
        "--data=MedicalFolder",
        f"--data.path={path}",
        f"--data.cache_dir={tmp_path / 'cache'}",
        f"--ckpt_path={checkpoint}",
    ]


def test_predict_on_two_depths(checkpoint: Path, two_depths: Path, tmp_path: Path) -> None:
    ran = cli("predict", *arguments(checkpoint, two_depths, tmp_path), root=tmp_path / "out")
    deep, plain = sorted(predicted(ran), key=lambda item: item.image_path == str(two_depths / "eight.png"))
    assert plain.image_path == str(two_depths / "eight.png")
    assert abs(plain.pred_score - deep.pred_score) < 1e-5
    assert (plain.anomaly_map - deep.anomaly_map).abs().max() < 1e-5
    assert len(list((tmp_path / "out").rglob("images/**/*.png"))) == 2
    with Image.open(deep.image_path) as shown, Image.open(plain.image_path) as picture:
        assert np.array_equal(np.asarray(shown.convert("L")), np.asarray(picture))


def test_predict_on_a_folder_of_dicom(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.unit.images.test_dicom import write

    folder = tmp_path / "slices"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        write(folder / f"{i}.dcm", rng.integers(0, 4000, (40, 30)).astype(np.uint16))
    given = [*arguments(checkpoint, folder, tmp_path), "--data.intensity=window(2000,4000)"]
    ran = cli("predict", *given, root=tmp_path / "out")
    assert len({float(item.pred_score) for item in predicted(ran)}) == 2
    assert len(list((tmp_path / "out").rglob("images/**/*.png"))) == 2


def test_the_engine_takes_it_as_a_dataset(checkpoint: Path, two_depths: Path, tmp_path: Path) -> None:
    model = Padim(backbone="resnet18", layers=["layer1"], pre_trained=False, n_features=8)
    assert isinstance(model.pre_processor, PreProcessor)
    data = MedicalFolder(two_depths / "eight.png", cache_dir=tmp_path / "cache")
    [batch] = Engine(default_root_dir=tmp_path, **QUIET).predict(model, dataset=data, ckpt_path=checkpoint)
    assert batch.image_path == [str(two_depths / "eight.png")]


def test_items_are_plain_images(two_depths: Path, tmp_path: Path) -> None:
    data = MedicalFolder(two_depths, cache_dir=tmp_path / "cache")
    deep, plain = data[0], data[1]
    assert torch.allclose(deep.image, plain.image, atol=1e-6)
    assert plain.gt_label is None
    assert plain.gt_mask is None
    batch = data.collate_fn([deep, plain])
    assert batch.image.shape == (2, 3, 72, 80)


def test_what_cannot_be_read(two_depths: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (two_depths / "broken.png").write_bytes(b"")
    with pytest.raises(ImageReadError, match=r"broken\.png': the file is empty.*--data\.on_error skip"):
        MedicalFolder(two_depths, cache_dir=tmp_path / "cache")
    assert len(MedicalFolder(two_depths, on_error="skip", cache_dir=tmp_path / "cache")) == 2
    assert "on_error=skip: 1 of 3 images are left out" in caplog.text
    (tmp_path / "empty").mkdir()
    for path, state in ((tmp_path / "empty", "holds no image"), (tmp_path / "none", "is no file or folder")):
        with pytest.raises(FileNotFoundError, match=rf"path='.*' {state}.*: pass --data\.path FOLDER"):
            MedicalFolder(path)
    with pytest.raises(ValueError, match="intensity='bright' is none of"):
        MedicalFolder(two_depths, intensity="bright")
