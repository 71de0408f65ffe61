# SPDX-License-Identifier: Apache-2.0
"""One model, fitted by the real command line."""

from pathlib import Path
from typing import Any

import pytest
from anomalib.cli.cli import AnomalibCLI

TINY: dict[str, Any] = {"teachers": ["resnet18", "vmamba_atto"], "pre_trained": False, "image_size": 64}
SLIM: dict[str, Any] = {**TINY, "teachers": ["resnet18"]}


def folder_arguments(root: Path) -> list[str]:
    """anomalib's Folder on ``toy_root``."""
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


def model_arguments(**more: object) -> list[str]:
    return ["--model=anomalib_fsad.PDD", *(f"--model.{k}={v}" for k, v in {**TINY, **more}.items())]


def cli(verb: str, *arguments: str, root: Path) -> AnomalibCLI:
    quiet = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"]
    return AnomalibCLI(args=[verb, *arguments, f"--default_root_dir={root}", *quiet])


@pytest.fixture(scope="session")
def pdd_checkpoint(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch on five images in batches of two, by ``anomalib fit``."""
    results = tmp_path_factory.mktemp("results")
    cli("fit", *model_arguments(max_epochs=1), *folder_arguments(toy_root), root=results)
    (checkpoint,) = results.rglob("*.ckpt")
    return checkpoint
