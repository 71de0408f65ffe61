# SPDX-License-Identifier: Apache-2.0
"""What many tests share: no network, small pictures."""

import os

# Before anything reads it: a download must fail at once, not after its retries.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.cli.cli import AnomalibCLI
from anomalib.data import Folder
from anomalib.data.utils import read_image
from anomalib.models import AnomalibModule
from PIL import Image
from torchmetrics.functional.classification import binary_auroc


def draw(path: Path, seed: int, *, spot: bool = False, size: tuple[int, int] = (80, 72)) -> Path:
    """A textured picture, with a bright spot if asked for."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    pixels = 90 + 60 * np.sin(7 * x + rng.uniform(0, 0.5)) * np.cos(5 * y) + rng.normal(0, 8, x.shape)
    if spot:
        pixels[20:40, 30:50] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)).save(path)
    return path


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five normal training pictures, three normal and three abnormal test pictures."""
    root = tmp_path_factory.mktemp("toy")
    for i in range(5):
        draw(root / f"train/good/{i}.png", i)
    for i in range(3):
        draw(root / f"test/good/{i}.png", 10 + i, size=(96, 64))
        draw(root / f"test/bad/{i}.png", 20 + i, spot=True)
    return root


def toy_folder(root: Path) -> Folder:
    """anomalib's Folder datamodule on ``toy_root``; built anew, since datamodules keep state."""
    return Folder(
        name="toy",
        root=root,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir="test/bad",
        train_batch_size=2,
        eval_batch_size=2,
        num_workers=0,
    )


def folder_arguments(root: Path) -> list[str]:
    """The same datamodule, for the command line."""
    return [
        "--data=Folder",
        "--data.name=toy",
        f"--data.root={root}",
        "--data.normal_dir=train/good",
        "--data.normal_test_dir=test/good",
        "--data.abnormal_dir=test/bad",
        "--data.train_batch_size=2",
        "--data.eval_batch_size=2",
        "--data.num_workers=0",
    ]


def same_as_test_arguments(root: Path) -> list[str]:
    """The same, with all test images for validation."""
    return [*folder_arguments(root), "--data.val_split_mode=same_as_test"]


def toy_test_auroc(model: AnomalibModule, root: Path) -> float:
    """The image AUROC of a model's own scores of all test pictures, one after another."""
    paths = [path for kind in ("good", "bad") for path in sorted((root / "test" / kind).iterdir())]
    scores = torch.cat([model(read_image(path, as_tensor=True)[None]).pred_score for path in paths])
    return binary_auroc(scores, torch.tensor([0, 0, 0, 1, 1, 1])).item()


def cli(verb: str, *arguments: str, root: Path) -> AnomalibCLI:
    """anomalib's command line, in this process."""
    quiet = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"]
    return AnomalibCLI(args=[verb, *arguments, f"--default_root_dir={root}", *quiet])
