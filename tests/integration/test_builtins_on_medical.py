# SPDX-License-Identifier: Apache-2.0
"""anomalib's own models, unmodified, through its own command line, on MedicalFewShot."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from anomalib.cli.cli import AnomalibCLI
from anomalib.models import Padim, Patchcore
from lightning.pytorch import seed_everything
from PIL import Image
from sklearn.metrics import roc_auc_score

from anomalib_fsad.data.phantom import write_phantom


@pytest.fixture(scope="module")
def phantom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(
        tmp_path_factory.mktemp("phantom"), image_size=64, n_train=20, n_test=10, spread=0.3, strengths=["easy"]
    )


def config(tmp_path: Path, model: str, phantom_root: Path, **data: object) -> Path:
    """A model of 64 pixels on a handful of images."""
    resize = {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [64, 64]}}
    init_args = {"backbone": "resnet18", "pre_trained": False, "layers": ["layer1", "layer2"]}
    pre_processor = {"class_path": "anomalib.pre_processing.PreProcessor", "init_args": {"transform": resize}}
    content = {
        "model": {"class_path": f"anomalib.models.{model}", "init_args": {**init_args, "pre_processor": pre_processor}},
        "data": {
            "class_path": "anomalib_fsad.MedicalFewShot",
            "init_args": {"root": str(phantom_root), "target": "head_ct", "num_workers": 0, "k_shot": 3, **data},
        },
        "trainer": {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
        "default_root_dir": str(tmp_path / "results"),
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def raw_scores(cli: AnomalibCLI) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the test images before the post-processor, and their labels."""
    scores, labels = [], []
    model = cli.model.eval()
    for batch in cli.datamodule.test_dataloader():
        with torch.no_grad():
            scores.append(model.model(model.pre_processor.transform(batch.image)).pred_score.flatten())
        labels.append(batch.gt_label)
    return torch.cat(scores).numpy(), torch.cat(labels).numpy()


@pytest.mark.parametrize(
    ("model", "protocol"),
    [
        (Padim, "few_shot"),
        (Patchcore, "one_class"),
        pytest.param(Padim, "one_class", marks=pytest.mark.slow),
        pytest.param(Patchcore, "few_shot", marks=pytest.mark.slow),
    ],
)
def test_train_on_medical_few_shot(tmp_path: Path, phantom_root: Path, model: type, protocol: str) -> None:
    path = config(tmp_path, model.__name__, phantom_root, protocol=protocol)
    seed_everything(0, verbose=False)
    cli = AnomalibCLI(args=["train", "--config", str(path)])
    home = tmp_path / "results" / model.__name__ / "MedicalFewShot" / "head_ct" / "latest"
    assert isinstance(cli.model, model)

    metrics = cli.engine.trainer.callback_metrics
    assert {"image_AUROC", "image_F1Score", "pixel_AUROC"} <= set(metrics)
    assert metrics["image_AUROC"] > 0.6
    assert list((home / "weights").rglob("*.ckpt"))

    pictures = sorted((home / "images").rglob("*.png"))
    assert len(pictures) == 20
    assert {picture.parent.name for picture in pictures} == {"good", "blob", "missing", "ring", "streak", "texture"}

    data = json.loads((home / "data.json").read_text())
    assert data["protocol"] == protocol
    assert len(data["support"]) == 3
    assert data["images"]["head_ct"]["train normal"] == {"few_shot": 3, "one_class": 16}[protocol]
    seen = {Path(file).parts[-4] for file in data["support"]}
    assert seen == {"head_ct"}

    left = json.loads((home / "metrics.json").read_text())
    assert left["metrics"]["image_AUROC"] == pytest.approx(metrics["image_AUROC"].item())
    assert left["data"] == data

    # anomalib clamps scores to half the validation range on each side of the threshold before it computes metrics:
    # a range too narrow would show as a lower AUROC than the raw scores have.
    raw, labels = raw_scores(cli)
    assert abs(metrics["image_AUROC"] - roc_auc_score(labels, raw)) < 0.06


def test_threshold_parts_normal_from_abnormal(tmp_path: Path, phantom_root: Path) -> None:
    """On lesions as plain as holes, the threshold that never saw a test label gets most images right."""
    root = tmp_path / "plain"
    for split, n in (("train/good", 20), ("test/good", 10), ("test/hole", 10)):
        (root / "head_ct" / split).mkdir(parents=True)
        place = "train/good" if split == "train/good" else "test/good"
        for i, source in enumerate(sorted((phantom_root / "head_ct" / place).iterdir())[:n]):
            pixels = np.asarray(Image.open(source)).copy()
            if "hole" in split:
                pixels[20:44, 20:44] = np.random.default_rng(i).integers(0, 255, (24, 24))
            Image.fromarray(pixels).save(root / "head_ct" / split / source.name)
    path = config(tmp_path, "Patchcore", root, protocol="one_class", target=None)
    seed_everything(0, verbose=False)
    cli = AnomalibCLI(args=["train", "--config", str(path)])
    metrics = cli.engine.trainer.callback_metrics
    assert metrics["image_AUROC"] > 0.95
    assert metrics["image_F1Score"] > 0.7
